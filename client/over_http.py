"""The client over HTTP, for programs that can reach the service's port but not its socket. Needs no further package.

A call opens a connection of its own: on one machine that costs a fraction of a millisecond, and no
connection has to be kept, shared between threads or checked for being closed.
"""

import asyncio
import http.client
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from ..protocol.client_messages import Timings
from ..protocol.errors import DeadlineExceeded, Failed, InvalidRequest, RerankError, Unavailable, error_from_code
from ..protocol.message import RequestClass
from .encoding import Document, encode_documents, encode_query
from .ranking import Hit, Ranking, Span
from .sync import GRACE_S, check_priority, check_top_k, check_windows, deadline_ms

#: More than any answer has; what is longer does not come from the service, bytes.
_LONGEST_ANSWER = 16 * 1024 * 1024
_CHUNK = 64 * 1024


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


class _Answer(msgspec.Struct):
    """What is read of an answer; the service sends more."""

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
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
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
        connection = self._kind(self._host, self._port, timeout=max(0.001, deadline - started))
        try:
            try:
                headers = {"Content-Type": "application/json"} | ({} if use_cache else {"Cache-Control": "no-cache"})
                connection.request("POST", self._path, body, headers)
            except (BrokenPipeError, ConnectionResetError):  # refused early: the answer may say why
                if connection.sock is None:
                    raise
            sock = connection.sock
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            with connection.getresponse() as response:
                answer = bytearray()
                while chunk := response.read1(_CHUNK):
                    answer += chunk
                    if len(answer) > _LONGEST_ANSWER:
                        raise Unavailable(f"{self.url} sent more than {_LONGEST_ANSWER} bytes; is it the service?")
                    sock.settimeout(max(0.001, deadline - time.monotonic()))
                if response.length:
                    raise Unavailable(
                        f"no rerank service at {self.url}: it closed the connection in the middle of an answer"
                    )
        except TimeoutError:
            raise DeadlineExceeded(f"{self.url} did not answer within {deadline - started:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no rerank service at {self.url}: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise _error(response.status, response.getheader("Retry-After"), bytes(answer))
        return bytes(answer)

    def close(self) -> None:
        """Do nothing: there is no connection between calls. For code that takes either reranker."""


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
        """Do nothing, as ``HttpReranker.close``."""


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
        read = msgspec.json.decode(answer, type=_Answer)
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


def _error(status: int, retry_after: str | None, body: bytes) -> RerankError:
    """Return the exception for an answer that is an error, whoever gave it."""
    try:
        read = msgspec.json.decode(body, type=_Error)
    except msgspec.DecodeError:
        kind = Unavailable if status in (502, 503, 504) else Failed if status >= 500 else InvalidRequest
        return kind(f"HTTP {status} from something that is not the rerank service")
    wait_ms = int(retry_after) * 1000 if retry_after and retry_after.isdecimal() else None
    return error_from_code(read.error.type, read.message, wait_ms)
