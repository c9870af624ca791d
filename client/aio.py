"""The client for asyncio programs."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
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


class AsyncReranker:
    """Rank documents through the local rerank service, from any event loop.

    A cancelled task cancels its request: pairs that have not started are dropped.

    Args:
        socket: The broker's requests socket; found by ``find_requests_socket`` if not given.
        priority: ``interactive``, or ``bulk`` for work that may wait behind others.
        name: The name shown in the service's status.
    """

    def __init__(
        self, socket: str | Path | None = None, *, priority: RequestClass = "interactive", name: str = "client"
    ) -> None:
        self.socket = Path(socket) if socket is not None else find_requests_socket()
        self.priority: RequestClass = priority
        self._lease = SharedConnection(self.socket, name)

    async def rerank(
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
    ) -> Ranking:
        """Return the documents in order of relevance; arguments and errors as in ``Reranker.rerank``."""
        encoded = encode_query(query)
        texts, ids = encode_documents(documents)
        check_top_k(top_k)
        return await self.rerank_encoded(
            encoded,
            texts,
            ids,
            top_k,
            timeout,
            priority=priority,
            max_windows=max_windows,
            window_stride=window_stride,
            use_cache=use_cache,
        )

    async def rerank_encoded(
        self,
        query: bytes,
        texts: list[bytes],
        ids: Sequence[str | None],
        top_k: int | None = None,
        timeout: float = 30.0,
        *,
        priority: RequestClass | None = None,
        max_windows: int | None = None,
        window_stride: int | None = None,
        use_cache: bool = True,
        caller: str | None = None,
        stream: str | None = None,
        wire_id: bytes | None = None,
    ) -> Ranking:
        """Rank texts that are checked and encoded already (``encode_query``, ``encode_documents``).

        ``caller`` and ``stream`` say who is charged, where this process speaks for others (``protocol.Rerank``).
        ``wire_id``, at most 64 bytes and used once, names the request in the service's logs. ``timeout`` is in s, and
        the errors are those of ``rerank``.
        """
        allowed_ms = deadline_ms(timeout)
        asked_class = check_priority(priority or self.priority)
        connection = self._lease.connection()
        check_windows(max_windows, window_stride)
        request_id, answer = connection.rerank(
            query,
            texts,
            allowed_ms,
            asked_class,
            caller,
            stream,
            wire_id,
            max_windows,
            window_stride,
            use_cache=use_cache,
        )
        try:
            scores = await _wait_for(answer, allowed_ms / 1000 + GRACE_S)
        finally:
            connection.cancel(request_id)
            del answer  # it refers to the error, which refers to this frame: a reference cycle that keeps all the texts
        return rank(scores, texts, ids, top_k)

    async def status(self, timeout: float = 5.0) -> Status:
        """Return the service's status. Raises ``Unavailable`` when no broker answers."""
        connection = self._lease.connection()
        request_id, answer = connection.status()
        try:
            return await _wait_for(answer, timeout)
        except DeadlineExceeded:
            raise Unavailable(f"no broker answered at {self.socket} within {timeout:g} s") from None
        finally:
            connection.cancel(request_id)
            del answer

    def expect_no_other_broker(self) -> None:
        """Answer requests under way ``Unavailable`` as soon as the broker is gone, instead of waiting for another."""
        self._lease.connection().expect_no_other_broker()

    async def close(self) -> None:
        """Give the connection back; the last user of it in the process closes it."""
        await asyncio.to_thread(self._lease.release)

    async def __aenter__(self) -> "AsyncReranker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _wait_for(answer: "Future[_Answer]", seconds: float) -> _Answer:
    """Wait for an answer, as ``sync.wait_for``."""
    try:
        # Not asyncio.wait_for: its frame keeps the future, and so the cycle, to the end.
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(answer)
    except TimeoutError:
        raise DeadlineExceeded(TIMED_OUT.format(seconds)) from None
    finally:
        del answer
