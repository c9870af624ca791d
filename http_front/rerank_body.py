"""The body of a rerank request, as many programs write it, read into one form.

Values are kept as raw JSON and decoded one by one, typed: unknown ones are skipped and never built, no list
is taken beyond its bound, and at most one text at a time is in memory twice.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..client.encoding import read_id, utf8
from ..client.sync import MAX_STRIDE
from ..protocol.errors import InvalidRequest, RerankError, TooLarge
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.message import REQUEST_CLASSES, RequestClass
from ..protocol.validation import documents_flaw, query_flaw
from .dialects import Dialect, dialect_of_body
from .errors import NoDocuments


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


class _Document(msgspec.Struct):
    """A document that is an object. Other keys are ignored."""

    text: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


#: A list of at most as many elements as there may be documents: msgspec stops at the first that is too many.
_Documents = msgspec.defstruct(
    "_Documents",
    [(f"d{index}", Raw, Raw()) for index in range(DEFAULT_LIMITS.documents)],
    array_like=True,
    forbid_unknown_fields=True,
)
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(_Documents).decode
_decode_document = msgspec.json.Decoder(_Document).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_scalar = msgspec.json.Decoder(bool | int | float | str | None).decode

_BOM = b"\xef\xbb\xbf"
#: The longest text that can be within a bound of bytes, in JSON: each byte at most as an escape.
_ESCAPE_BYTES = 6
#: What other keys of a document may have.
_OTHER_KEYS_BYTES = 1 << 20
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_KINDS = {
    ord("n"): "null",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
    ord('"'): "a string",
    ord("["): "an array",
    ord("{"): "an object",
}


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
        texts = _given(body.texts)
        dialect = dialect_of_body(prefix, has_texts=texts is not None, has_property=_given(body.property) is not None)
        name = "texts" if texts is not None else "documents"
        documents = texts if texts is not None else _given(body.documents)
        query = _given(body.query)
        if query is None:
            raise InvalidRequest("'query' is missing")
        if documents is None:
            raise InvalidRequest(f"'{'texts' if dialect.name == 'tei' else 'documents'}' is missing")
        rest()
        encoded_query = _query(query, limits)
        encoded, ids = _documents(documents, limits, name, rest)
        return RerankBody(
            dialect=dialect,
            query=encoded_query,
            texts=encoded,
            ids=ids,
            top_k=_top_k(body),
            return_documents=_flag(body, "return_documents") or _flag(body, "return_text") or False,
            raw_scores=_flag(body, "raw_scores") or _flag(body, "use_activation") is False,
            score_threshold=_number(body, "score_threshold"),
            priority=_priority(body),
            max_windows=_within(body, "max_windows", limits.windows),
            window_stride=_within(body, "window_stride", MAX_STRIDE),
            model=_model(body),
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


def _given(value: Raw | UnsetType) -> Raw | None:
    """Return a value that is there and not null."""
    return None if isinstance(value, UnsetType) or bytes(memoryview(value)[:5]) == b"null" else value


def _first_byte(value: Raw) -> int:
    return memoryview(value)[0]


def _kind(value: Raw) -> str:
    return _KINDS.get(_first_byte(value), "a number")


def _text(value: Raw, where: str, most_bytes: int) -> bytes:
    """Return a JSON string as UTF-8."""
    if len(memoryview(value)) > _ESCAPE_BYTES * most_bytes + 2:
        raise TooLarge(f"{where} has over {most_bytes} bytes; the limit is {most_bytes}")
    try:
        return utf8(_decode_text(value), where)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{where} is not valid UTF-8: {error.reason} at byte {error.start}") from None


def _query(value: Raw, limits: Limits) -> bytes:
    if _first_byte(value) != ord('"'):
        raise InvalidRequest(f"query must be a string, not {_kind(value)}")
    query = _text(value, "query", limits.query_bytes)
    if flaw := query_flaw(query, limits, decoded=True):
        raise flaw
    return query


def _documents(value: Raw, limits: Limits, name: str, rest: Callable[[], None]) -> tuple[list[bytes], list[str | None]]:
    if _first_byte(value) != ord("["):
        raise InvalidRequest(f"{name} must be a list of strings or objects, not {_kind(value)}")
    try:
        listed = [each for each in msgspec.structs.astuple(_decode_list(value)) if memoryview(each)]
    except msgspec.ValidationError:
        raise TooLarge(f"more than {limits.documents} {name}; the limit is {limits.documents} in one request") from None
    rest()
    if not listed:
        raise NoDocuments(f"{name} is empty; at least one document is needed")
    texts: list[bytes] = []
    ids: list[str | None] = []

    def encoded() -> Iterator[bytes]:
        for index, document in enumerate(listed):
            text, identifier = _document(document, f"{name}[{index}]", limits)
            texts.append(text)
            ids.append(identifier)
            yield text

    if flaw := documents_flaw(len(listed), encoded(), limits, name, decoded=True):
        raise flaw
    return texts, ids


def _document(value: Raw, where: str, limits: Limits) -> tuple[bytes, str | None]:
    if _first_byte(value) == ord('"'):
        return _text(value, where, limits.document_bytes), None
    if _first_byte(value) != ord("{"):
        raise InvalidRequest(f"{where} must be a string or an object with 'text', not {_kind(value)}")
    if len(memoryview(value)) > _ESCAPE_BYTES * limits.document_bytes + _OTHER_KEYS_BYTES:
        raise TooLarge(f"{where} is an object of {len(memoryview(value))} bytes, which is more than its text may have")
    document = _decode_document(value)
    if isinstance(document.text, UnsetType):
        raise InvalidRequest(f"{where} needs a string 'text', not null")
    if _first_byte(document.text) != ord('"'):
        raise InvalidRequest(f"{where} needs a string 'text', not {_kind(document.text)}")
    identifier = _given(document.id)
    if identifier is not None and len(memoryview(identifier)) > limits.query_bytes:
        raise TooLarge(f"{where}: id has over {limits.query_bytes} bytes, which is the limit")
    if identifier is not None and _first_byte(identifier) in b"{[":
        raise InvalidRequest(f"{where}: id must be a string or a whole number, not {_kind(identifier)}")
    text = _text(document.text, where, limits.document_bytes)
    if identifier is None:
        return text, None
    try:
        return text, read_id(_decode_scalar(identifier), where)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequest(f"{where}: id is neither a valid string nor a whole number of reasonable size") from None


def _scalar(body: _Body, name: str) -> Any:
    """Return an optional field that is no list and no object; None if it is not given."""
    value = _given(getattr(body, name))
    if value is None:
        return None
    if _first_byte(value) in b"{[" or len(memoryview(value)) > 1000:
        return value  # not what any field is; not decoded
    try:
        return _decode_scalar(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return value


def _top_k(body: _Body) -> int | None:
    """Return ``top_k`` or its other name ``top_n``; None for all."""
    counts = {name: value for name in ("top_k", "top_n") if (value := _scalar(body, name)) is not None}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(f"{name} must be a whole number")
        if value < 0:
            raise InvalidRequest(f"{name} is {value}; it must be 0 (all) or more")
    if len(set(counts.values())) > 1:
        raise InvalidRequest(f"top_k is {counts['top_k']} and top_n is {counts['top_n']}: give one, or the same")
    return next(iter(counts.values()), 0) or None


def _priority(body: _Body) -> RequestClass | None:
    """Return the class a request asks for; Cohere's whole numbers, 0 the most urgent, count as well."""
    value = _scalar(body, "priority")
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return "bulk" if value else "interactive"
    for choice in REQUEST_CLASSES:
        if value == choice:
            return choice
    raise InvalidRequest(f"priority must be {' or '.join(map(repr, REQUEST_CLASSES))}")


def _within(body: _Body, name: str, most: int) -> int | None:
    """Return a whole number from 1 to ``most``, or None where it is not given."""
    value = _scalar(body, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number")
    if not 1 <= value <= most:
        raise InvalidRequest(f"{name} is {value}; it must be 1 to {most}")
    return value


def _number(body: _Body, name: str) -> float | None:
    value = _scalar(body, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{name} must be a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"{name} is too large a number") from None


def _flag(body: _Body, name: str) -> bool | None:
    value = _scalar(body, name)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidRequest(f"{name} must be true or false")


def _model(body: _Body) -> str | None:
    value = _scalar(body, "model")
    return value if isinstance(value, str) else None
