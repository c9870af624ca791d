"""Documents as callers write them, turned into what travels: UTF-8 bytes and ids."""

from collections.abc import Mapping, Sequence

from ..protocol.errors import InvalidArgument, InvalidRequest, TooLarge
from ..protocol.limits import DEFAULT_LIMITS, Limits

#: A text, or a mapping with ``text`` and an optional ``id``; other keys are ignored.
Document = str | Mapping[str, object]


def encode_query(query: object, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the query's UTF-8.

    Raises:
        InvalidRequest: Not a string (``InvalidArgument``), empty, or not valid Unicode.
        TooLarge: Over ``limits.query_bytes``.
    """
    if not isinstance(query, str):
        raise InvalidArgument(f"query must be a string, not {_kind(query)}")
    if not query.strip():
        raise InvalidRequest("query is empty")
    encoded = _utf8(query, "query")
    if len(encoded) > limits.query_bytes:
        raise TooLarge(f"query has {len(encoded)} bytes; the limit is {limits.query_bytes}")
    return encoded


def encode_documents(
    documents: object, limits: Limits = DEFAULT_LIMITS, name: str = "documents"
) -> tuple[list[bytes], list[str | None]]:
    """Return the documents' UTF-8 texts and their ids (None where none is given), in order.

    An empty text is a document like any other: it gets a score.

    Args:
        documents: Strings and mappings, mixed.
        limits: The bounds to hold.
        name: What the caller calls the list, for error messages.

    Raises:
        InvalidRequest: Not a list, empty, a document without text, or not valid Unicode; names the document.
        TooLarge: Too many documents or bytes; names the bound.
    """
    check_documents(documents, name)
    assert isinstance(documents, Sequence)
    if not documents:
        raise InvalidRequest(f"{name} is empty; at least one document is needed")
    if len(documents) > limits.documents:
        raise TooLarge(f"{len(documents)} documents; the limit is {limits.documents} in one request")
    texts: list[bytes] = []
    ids: list[str | None] = []
    total = 0
    for index, document in enumerate(documents):
        text, identifier = _text_and_id(document, f"{name}[{index}]")
        encoded = _utf8(text, f"{name}[{index}]")
        if len(encoded) > limits.document_bytes:
            raise TooLarge(f"{name}[{index}] has {len(encoded)} bytes; the limit is {limits.document_bytes}")
        total += len(encoded)
        texts.append(encoded)
        ids.append(identifier)
    if total > limits.request_bytes:
        raise TooLarge(f"the documents have {total} bytes together; the limit is {limits.request_bytes}")
    return texts, ids


def check_documents(documents: object, name: str = "documents") -> None:
    """Raise ``InvalidArgument`` for what is not a list: a string would be taken for a list of letters."""
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Sequence):
        raise InvalidArgument(f"{name} must be a list of strings or objects, not {_kind(documents)}")


def _text_and_id(document: object, where: str) -> tuple[str, str | None]:
    if isinstance(document, str):
        return document, None
    if not isinstance(document, Mapping):
        raise InvalidArgument(f"{where} must be a string or an object with 'text', not {_kind(document)}")
    text = document.get("text")
    if not isinstance(text, str):
        raise InvalidArgument(f"{where} needs a string 'text', not {_kind(text)}")
    identifier = document.get("id")
    if identifier is None:
        return text, None
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise InvalidArgument(f"{where}: id must be a string or a whole number, not {_kind(identifier)}")
    identifier = str(identifier)
    _utf8(identifier, f"{where}.id")
    return text, identifier


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{where} is not valid Unicode: a lone surrogate {text[error.start]!r} at character {error.start}"
        ) from None


def _kind(value: object) -> str:
    """Name a value's type as JSON does."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    return f"a {type(value).__name__}"
