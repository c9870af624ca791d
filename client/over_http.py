"""The client over HTTP, for programs that can reach the service's port but not its socket. Needs no further package.

Connections are kept between calls (``connection_pool``). One that the server closed just when it was to be used again
is replaced, and the request sent on a new one: it is answered once, and ranking twice changes nothing.
"""

import asyncio
import http.client
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import urlsplit

import msgspec

from ..protocol.client_messages import Timings
from ..protocol.errors import DeadlineExceeded, Failed, InvalidRequest, RerankError, Unavailable, error_from_code
from ..protocol.message import RequestClass
from .connection_pool import Answer, ConnectionPool
from .encoding import Document, encode_documents, encode_query
from .ranking import Hit, Ranking, Span
from .sync import GRACE_S, check_priority, check_top_k, check_windows, deadline_ms


class _Result(msgspec.Struct):
    index: int
    score: float
    relevance_score: float
    id: str | None = None
    truncated: bool = False
    windows: int = 1
    window: Span = Span(0, 0)


class _Usage(msgspec.Struct):
    total_tokens: int


class _Ranking(msgspec.Struct):
    """What is read of a ranking; the service sends more."""

    results: list[_Result]
    model: str
    device: str
    timings_ms: Timings
    usage: _Usage
    precision: str = ""
    npu_busy_delta_us: int | None = None
    cached: int = 0


class _ErrorKind(msgspec.Struct):
    type: str


class _Error(msgspec.Struct):
    """What is read of an error's body."""

    message: str
    error: _ErrorKind


class HttpReranker:
    """Rank documents through the service's HTTP front, as ``Reranker`` does through its socket.

    Any number of threads may use one. No proxy is used, whatever the environment sets.

    Args:
        url: ``http://127.0.0.1:18818``, or with a path before ``/rerank``; a full ``…/rerank`` URL is accepted too.
        priority: ``interactive``, or ``bulk`` for work that may wait behind others.

    Raises:
        ValueError: Not an http or https URL.
    """

    def __init__(self, url: str, *, priority: RequestClass = "interactive") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http URL such as http://127.0.0.1:18818")
        self.url = url
        self.priority: RequestClass = priority
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        host, port = parts.hostname, parts.port
        self._connections = ConnectionPool(lambda: kind(host, port))
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
        body = _encode(query, documents, options)
        deadline = time.monotonic() + deadline_ms(timeout) / 1000 + grace
        return _decode(self._post(body, deadline, use_cache=use_cache), len(documents))

    def _post(self, body: bytes, deadline: float, *, use_cache: bool) -> bytes:
        """Return the answer's body. Raises the error that the service answered with, or what kept it from that."""
        started = time.monotonic()
        headers = {"Content-Type": "application/json"} | ({} if use_cache else {"Cache-Control": "no-cache"})
        try:
            answer = self._connections.post(self._path, body, headers, deadline)
        except TimeoutError:
            raise DeadlineExceeded(f"{self.url} did not answer within {deadline - started:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no rerank service at {self.url}: {error or type(error).__name__}") from None
        if answer.status != 200:
            raise _error(answer)
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

    def __init__(self, url: str, *, priority: RequestClass = "interactive") -> None:
        self._reranker = HttpReranker(url, priority=priority)

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


def _encode(query: str, documents: Sequence[Document], options: Mapping[str, int | str | None]) -> bytes:
    """Return a request's body.

    Raises:
        InvalidRequest: As ``Reranker.rerank``, before anything is sent.
    """
    text = encode_query(query).decode()
    texts, ids = encode_documents(documents)
    body = {
        "query": text,
        "documents": [
            {"text": text.decode()} if name is None else {"text": text.decode(), "id": name}
            for text, name in zip(texts, ids, strict=True)
        ],
    }
    return msgspec.json.encode({**body, **options})


def _decode(answer: bytes, documents: int) -> Ranking:
    """Return the ranking of an answer's body.

    Raises:
        Unavailable: It is not the service's.
    """
    try:
        read = msgspec.json.decode(answer, type=_Ranking)
    except msgspec.DecodeError as error:
        raise Unavailable(f"this is not an answer of the rerank service: {error}") from None
    if not all(0 <= result.index < documents for result in read.results):
        raise Unavailable("this is not an answer of the rerank service: it ranks documents that were not sent")
    return Ranking(
        hits=tuple(
            Hit(
                result.index,
                result.id,
                result.score,
                result.relevance_score,
                result.truncated,
                result.windows,
                result.window,
            )
            for result in read.results
        ),
        model=read.model,
        device=read.device,
        precision=read.precision,
        npu_busy_delta_us=read.npu_busy_delta_us,
        timings_ms=read.timings_ms,
        tokens=read.usage.total_tokens,
        cached=read.cached,
    )


def _error(answer: Answer) -> RerankError:
    """Return the exception for an answer that is an error, whoever gave it."""
    status, retry_after, body = answer
    try:
        read = msgspec.json.decode(body, type=_Error)
    except msgspec.DecodeError:
        kind = Unavailable if status in (502, 503, 504) else Failed if status >= 500 else InvalidRequest
        return kind(f"HTTP {status} from something that is not the rerank service")
    wait_ms = int(retry_after) * 1000 if retry_after and retry_after.isdecimal() else None
    return error_from_code(read.error.type, read.message, wait_ms)
