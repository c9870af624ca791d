"""What the HTTP front is sent, and what is read of its answers: rankings, and errors whoever gave them."""

from collections.abc import Mapping, Sequence

import msgspec

from ..protocol.client_messages import Timings
from ..protocol.errors import Failed, InvalidRequest, RerankError, ServiceError, Unavailable, error_from_code
from .connection_pool import Answer
from .encoding import Document, encode_documents, encode_query
from .ranking import Hit, Ranking, Span


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


def encode_body(query: str, documents: Sequence[Document], options: Mapping[str, int | str | None]) -> bytes:
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


def decode_ranking(body: bytes, documents: int) -> Ranking:
    """Return the ranking of an answer's body; ``documents`` is how many were sent.

    Raises:
        Unavailable: It is not the service's.
    """
    try:
        read = msgspec.json.decode(body, type=_Ranking)
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


def error_of(answer: Answer) -> RerankError:
    """Return the exception for an answer that is an error, whoever gave it."""
    status, retry_after, body = answer
    try:
        read = msgspec.json.decode(body, type=_Error)
    except msgspec.DecodeError:
        kind = Unavailable if status in (502, 503, 504) else Failed if status >= 500 else InvalidRequest
        return kind(f"HTTP {status} from something that is not the rerank service")
    wait_ms = int(retry_after) * 1000 if retry_after and retry_after.isdecimal() else None
    error = error_from_code(read.error.type, read.message, wait_ms)
    if type(error) is ServiceError and 400 <= status < 500:  # one that HTTP alone has: a missing key, a wrong path
        return InvalidRequest(read.message)
    return error
