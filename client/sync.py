"""The client for ordinary, synchronous programs."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..protocol.errors import DeadlineExceeded, Unavailable
from ..protocol.message import RequestClass
from ..protocol.socket_paths import find_requests_socket
from ..protocol.status_messages import Status
from .arguments import GRACE_S, TIMED_OUT, check_priority, check_top_k, check_windows, deadline_ms
from .encoding import Document, encode_documents, encode_query
from .ranking import Ranking, rank
from .shared_connection import SharedConnection

_Answer = TypeVar("_Answer")


class Reranker:
    """Rank documents through the local rerank service.

    Cheap to create: all rerankers of a process share one connection, opened at the first call. Thread-safe;
    a forked child opens its own connection.

    Args:
        socket: The broker's requests socket; found by ``find_requests_socket`` if not given.
        priority: ``interactive``, or ``bulk`` for work that may wait behind others.
    """

    def __init__(self, socket: str | Path | None = None, *, priority: RequestClass = "interactive") -> None:
        self.socket = Path(socket) if socket is not None else find_requests_socket()
        self.priority: RequestClass = priority
        self._lease = SharedConnection(self.socket, "client")

    def rerank(
        self,
        query: str,
        documents: Sequence[Document],
        top_k: int | None = None,
        timeout: float = 30.0,
        *,
        priority: RequestClass | None = None,
        max_windows: int | None = None,
        window_stride: int | None = None,
        use_cache: bool = True,
        grace: float = GRACE_S,
    ) -> Ranking:
        """Return the documents in order of relevance to the query, best first.

        Args:
            query: The query.
            documents: Strings, or mappings with ``text`` and an optional ``id``.
            top_k: How many to return; None or 0 for all.
            timeout: Seconds until the answer must be there; the service drops the request after that. 600 at most.
            priority: ``interactive`` or ``bulk``, for this request alone; the reranker's own if not given.
            max_windows: The most windows a document is read in that is longer than the model reads at once; 1: only
                its beginning. None: the service's default.
            window_stride: Tokens from the beginning of one window to that of the next; None: the service's default.
            use_cache: Take scores that the service has computed before; False: have the device compute them again.
            grace: Seconds to wait beyond ``timeout`` for the service's own, more detailed answer.

        Raises:
            InvalidRequest: The request is wrong (``TooLarge``: over a bound).
            ServiceError: ``Unavailable``, ``Overloaded``, ``DeadlineExceeded`` or ``Failed``.
        """
        started = time.monotonic()
        encoded = encode_query(query)
        texts, ids = encode_documents(documents)
        check_top_k(top_k)
        asked_class = check_priority(priority or self.priority)
        allowed_ms = deadline_ms(timeout)
        check_windows(max_windows, window_stride)
        connection = self._lease.connection()
        request_id, answer = connection.rerank(
            encoded,
            texts,
            allowed_ms,
            asked_class,
            max_windows=max_windows,
            window_stride=window_stride,
            use_cache=use_cache,
        )
        try:
            scores = wait_for(answer, started + allowed_ms / 1000 + grace - time.monotonic())
        finally:
            connection.cancel(request_id)
            del answer  # it refers to the error, which refers to this frame: a reference cycle that keeps all the texts
        return rank(scores, texts, ids, top_k)

    def status(self, timeout: float = 5.0) -> Status:
        """Return the service's status: queue, worker, counters.

        Raises:
            Unavailable: No broker answered.
        """
        connection = self._lease.connection()
        request_id, answer = connection.status()
        try:
            return wait_for(answer, timeout)
        except DeadlineExceeded:
            raise Unavailable(f"no broker answered at {self.socket} within {timeout:g} s") from None
        finally:
            connection.cancel(request_id)
            del answer

    def close(self) -> None:
        """Give the connection back; the last user of it in the process closes it."""
        self._lease.release()

    def __enter__(self) -> "Reranker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_for(answer: "Future[_Answer]", seconds: float) -> _Answer:
    """Wait for an answer.

    Raises:
        DeadlineExceeded: There was none in time.
    """
    try:
        return answer.result(max(0.0, min(seconds, threading.TIMEOUT_MAX)))
    except FutureTimeout:
        raise DeadlineExceeded(TIMED_OUT.format(max(0.0, seconds))) from None
    finally:
        del answer  # as in ``Reranker.rerank``
