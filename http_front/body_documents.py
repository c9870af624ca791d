"""A rerank request's query and documents, taken out of its JSON as UTF-8.

No list is taken beyond its bound, and at most one text at a time is in memory twice.
"""

from collections.abc import Callable, Iterator

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..client.encoding import read_id
from ..protocol.errors import InvalidRequest, TooLarge
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.validation import documents_flaw, query_flaw
from .errors import NoDocuments
from .raw_json import ESCAPE_BYTES, decode_scalar, first_byte, given, kind, text

#: What other keys of a document may have.
_OTHER_KEYS_BYTES = 1 << 20


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
_decode_list = msgspec.json.Decoder(_Documents).decode
_decode_document = msgspec.json.Decoder(_Document).decode


def read_query(value: Raw, limits: Limits) -> bytes:
    """Return the query.

    Raises:
        InvalidRequest: Says what is wrong with it (``TooLarge``: over its bound).
    """
    if first_byte(value) != ord('"'):
        raise InvalidRequest(f"query must be a string, not {kind(value)}")
    query = text(value, "query", limits.query_bytes)
    if flaw := query_flaw(query, limits, decoded=True):
        raise flaw
    return query


def read_documents(
    value: Raw, limits: Limits, name: str, rest: Callable[[], None]
) -> tuple[list[bytes], list[str | None]]:
    """Return the documents' texts, and their ids where they have one.

    Args:
        value: The list.
        limits: The bounds.
        name: The field's name, for messages.
        rest: Called between two passes over the list.

    Raises:
        InvalidRequest: Says what is wrong, and with which document (``TooLarge``: over a bound).
    """
    if first_byte(value) != ord("["):
        raise InvalidRequest(f"{name} must be a list of strings or objects, not {kind(value)}")
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
            document_text, identifier = _document(document, f"{name}[{index}]", limits)
            texts.append(document_text)
            ids.append(identifier)
            yield document_text

    if flaw := documents_flaw(len(listed), encoded(), limits, name, decoded=True):
        raise flaw
    return texts, ids


def _document(value: Raw, where: str, limits: Limits) -> tuple[bytes, str | None]:
    if first_byte(value) == ord('"'):
        return text(value, where, limits.document_bytes), None
    if first_byte(value) != ord("{"):
        raise InvalidRequest(f"{where} must be a string or an object with 'text', not {kind(value)}")
    if len(memoryview(value)) > ESCAPE_BYTES * limits.document_bytes + _OTHER_KEYS_BYTES:
        raise TooLarge(f"{where} is an object of {len(memoryview(value))} bytes, which is more than its text may have")
    document = _decode_document(value)
    if isinstance(document.text, UnsetType):
        raise InvalidRequest(f"{where} has no 'text'")
    if first_byte(document.text) != ord('"'):
        raise InvalidRequest(f"{where} needs a string 'text', not {kind(document.text)}")
    identifier = given(document.id)
    if identifier is not None and len(memoryview(identifier)) > limits.query_bytes:
        raise TooLarge(f"{where}: id has over {limits.query_bytes} bytes, which is the limit")
    if identifier is not None and first_byte(identifier) in b"{[":
        raise InvalidRequest(f"{where}: id must be a string or a whole number, not {kind(identifier)}")
    encoded = text(document.text, where, limits.document_bytes)
    if identifier is None:
        return encoded, None
    try:
        scalar = decode_scalar(identifier)
    except InvalidRequest:
        raise InvalidRequest(f"{where}: id is neither a valid string nor a whole number of reasonable size") from None
    return encoded, read_id(scalar, where)
