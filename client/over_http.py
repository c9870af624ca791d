"""The client over HTTP, for programs that can reach the service's port but not its socket. Needs no further package.

Connections are kept between calls (``connection_pool``). One that the server closed just when it was to be used again
is replaced, and the request sent on a new one: it is answered once, and ranking twice changes nothing.
"""

import asyncio
import http.client
import os
import time
from collections.abc import Sequence
from types import TracebackType
from urllib.parse import urlsplit

from ..protocol.errors import DeadlineExceeded, Unavailable
from ..protocol.message import RequestClass
from .arguments import GRACE_S, check_priority, check_top_k, check_windows, deadline_ms
from .connection_pool import ConnectionPool
from .encoding import Document
from .http_messages import decode_ranking, encode_body, error_of
from .ranking import Ranking

#: The key of a service that asks for one, unless the program gives it; the service itself may have it there too.
API_KEY_VARIABLE = "OPENVINO_RERANKER_API_KEY"


def authorization(api_key: str | None = None) -> dict[str, str]:
    """Return the header that carries a key: this one, else the environment's, else none.

    Raises:
        ValueError: The key cannot stand in a header.
    """
    key = (os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key).strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key must be printable ASCII, as a header takes it")
    return {"Authorization": f"Bearer {key}"} if key else {}


class HttpReranker:
    """Rank documents through the service's HTTP front, as ``Reranker`` does through its socket.

    Any number of threads may use one. No proxy is used, whatever the environment sets.

    Args:
        url: ``http://127.0.0.1:18818``, or with a path before ``/rerank``; a full ``…/rerank`` URL is accepted too.
        priority: ``interactive``, or ``bulk`` for work that may wait behind others.
        api_key: For a service that asks for one; ``OPENVINO_RERANKER_API_KEY`` if not given.

    Raises:
        ValueError: Not an http or https URL, or the key cannot stand in a header.
    """

    def __init__(self, url: str, *, priority: RequestClass = "interactive", api_key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http URL such as http://127.0.0.1:18818")
        self.url = url
        self.priority: RequestClass = priority
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        host, port = parts.hostname, parts.port
        self._connections = ConnectionPool(lambda: kind(host, port))
        self._headers = {"Content-Type": "application/json", **authorization(api_key)}
        path = parts.path.rstrip("/")
        self._path = path if path.endswith("/rerank") else f"{path}/rerank"

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
        """Return the documents in order of relevance; arguments and errors as in ``Reranker.rerank``.

        The timeout is not sent to the service: ``timeout`` and ``grace`` together bound the call, and hanging up drops
        the pairs that have not started. ``Ranking.precision`` is empty where the front does not name it.
        """
        check_top_k(top_k)
        check_windows(max_windows, window_stride)
        options = {
            "top_k": top_k,
            "priority": check_priority(priority or self.priority),
            "max_windows": max_windows,
            "window_stride": window_stride,
        }
        body = encode_body(query, documents, options)
        deadline = time.monotonic() + deadline_ms(timeout) / 1000 + grace
        return decode_ranking(self._post(body, deadline, use_cache=use_cache), len(documents))

    def _post(self, body: bytes, deadline: float, *, use_cache: bool) -> bytes:
        """Return the answer's body. Raises the error that the service answered with, or what kept it from that."""
        started = time.monotonic()
        headers = self._headers if use_cache else {**self._headers, "Cache-Control": "no-cache"}
        try:
            answer = self._connections.post(self._path, body, headers, deadline)
        except TimeoutError:
            raise DeadlineExceeded(f"{self.url} did not answer within {deadline - started:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no rerank service at {self.url}: {error or type(error).__name__}") from None
        if answer.status != 200:
            raise error_of(answer)
        return answer.body

    def close(self) -> None:
        """Close the connections that are kept; a later call opens one anew."""
        self._connections.close()

    def __enter__(self) -> "HttpReranker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncHttpReranker:
    """``HttpReranker`` for asyncio programs: each call has a thread of the loop's pool.

    A cancelled task stops waiting; its request runs on until its timeout.
    """

    def __init__(self, url: str, *, priority: RequestClass = "interactive", api_key: str | None = None) -> None:
        self._reranker = HttpReranker(url, priority=priority, api_key=api_key)

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
        grace: float = GRACE_S,
    ) -> Ranking:
        """Return the documents in order of relevance; arguments and errors as in ``HttpReranker.rerank``."""
        return await asyncio.to_thread(
            self._reranker.rerank,
            query,
            documents,
            top_k,
            timeout,
            priority=priority,
            max_windows=max_windows,
            window_stride=window_stride,
            use_cache=use_cache,
            grace=grace,
        )

    async def close(self) -> None:
        """Close the connections that are kept."""
        self._reranker.close()

    async def __aenter__(self) -> "AsyncHttpReranker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
