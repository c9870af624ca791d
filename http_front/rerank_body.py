"""The body of a rerank request, as many programs write it, read into one form.

Values are kept as raw JSON and decoded one by one, typed: unknown ones are skipped and never built.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..protocol.errors import InvalidRequest, RerankError
from ..protocol.limits import DEFAULT_LIMITS, MAX_WINDOW_STRIDE, Limits
from ..protocol.message import RequestClass
from .body_documents import read_documents, read_query
from .body_options import flag, model_name, number, priority, top_k, whole_number
from .dialects import Dialect, dialect_of_body
from .raw_json import given


@dataclass(frozen=True, slots=True)
class RerankBody:
    """What a rerank request asks for; texts as UTF-8.

    Attributes:
        dialect: In which form to answer.
        model: The model it names, if any.
    """

    dialect: Dialect
    query: bytes
    texts: list[bytes]
    ids: list[str | None]
    top_k: int | None
    return_documents: bool
    raw_scores: bool
    score_threshold: float | None
    priority: RequestClass | None
    max_windows: int | None
    window_stride: int | None
    model: str | None

    @property
    def shows_documents(self) -> bool:
        """Whether the answer shows the documents."""
        return self.return_documents or self.dialect.always_documents


class _Body(msgspec.Struct):
    """The fields that are read. Others are ignored, as is any of these that is null."""

    query: Raw | UnsetType = UNSET
    documents: Raw | UnsetType = UNSET
    texts: Raw | UnsetType = UNSET
    top_k: Raw | UnsetType = UNSET
    top_n: Raw | UnsetType = UNSET
    return_documents: Raw | UnsetType = UNSET
    return_text: Raw | UnsetType = UNSET
    raw_scores: Raw | UnsetType = UNSET
    use_activation: Raw | UnsetType = UNSET
    score_threshold: Raw | UnsetType = UNSET
    priority: Raw | UnsetType = UNSET
    max_windows: Raw | UnsetType = UNSET
    window_stride: Raw | UnsetType = UNSET
    property: Raw | UnsetType = UNSET
    model: Raw | UnsetType = UNSET


_decode_body = msgspec.json.Decoder(_Body).decode

_BOM = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def read_rerank_body(
    raw: bytes | bytearray,
    prefix: Dialect,
    limits: Limits = DEFAULT_LIMITS,
    rest: Callable[[], None] = lambda: None,
) -> RerankBody:
    """Read a body; keys it does not know are ignored, whatever the content type says.

    Args:
        raw: The JSON.
        prefix: The dialect that the path's prefix names.
        limits: The bounds.
        rest: Called between any two passes over the whole body, each of which holds the interpreter.

    Raises:
        Refused: Says what is wrong and where, and in which form to say so.
    """
    dialect = prefix
    try:
        body = _read_object(raw)
        texts = given(body.texts)
        dialect = dialect_of_body(prefix, has_texts=texts is not None, has_property=given(body.property) is not None)
        name = "texts" if texts is not None else "documents"
        documents = texts if texts is not None else given(body.documents)
        query = given(body.query)
        if query is None:
            raise InvalidRequest("'query' is missing")
        if documents is None:
            raise InvalidRequest(f"'{'texts' if dialect.name == 'tei' else 'documents'}' is missing")
        rest()
        encoded_query = read_query(query, limits)
        encoded, ids = read_documents(documents, limits, name, rest)
        return RerankBody(
            dialect=dialect,
            query=encoded_query,
            texts=encoded,
            ids=ids,
            top_k=top_k(body.top_k, body.top_n),
            return_documents=flag(body.return_documents, "return_documents")
            or flag(body.return_text, "return_text")
            or False,
            raw_scores=flag(body.raw_scores, "raw_scores") or flag(body.use_activation, "use_activation") is False,
            score_threshold=number(body.score_threshold, "score_threshold"),
            priority=priority(body.priority),
            max_windows=whole_number(body.max_windows, "max_windows", limits.windows),
            window_stride=whole_number(body.window_stride, "window_stride", MAX_WINDOW_STRIDE),
            model=model_name(body.model),
        )
    except InvalidRequest as error:
        raise Refused(error, dialect) from None


class Refused(Exception):
    """A request that cannot be served: the error, and the dialect to word it in."""

    def __init__(self, error: RerankError, dialect: Dialect) -> None:
        super().__init__(error.message)
        self.error = error
        self.dialect = dialect


def _read_object(raw: bytes | bytearray) -> _Body:
    if not raw:
        raise InvalidRequest("the body is empty; it must be a JSON object with 'query' and 'documents'")
    try:
        return _decode_body(memoryview(raw)[len(_BOM) :] if raw.startswith(_BOM) else raw)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not valid UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object with 'query' and 'documents'") from None
    except msgspec.MsgspecError as error:
        if half := _LONE_SURROGATE.search(raw):
            raise InvalidRequest(
                f"the JSON holds half a surrogate pair, {half[0].decode()} at byte {half.start()}: not a character"
            ) from None
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
