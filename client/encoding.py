"""Documents as callers write them, turned into what travels: UTF-8 bytes and ids."""

from collections.abc import Iterator, Mapping, Sequence

from ..protocol.errors import InvalidArgument, InvalidRequest
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.validation import documents_flaw, query_flaw

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
    encoded = utf8(query, "query")
    if flaw := query_flaw(encoded, limits, decoded=True):
        raise flaw
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
    texts: list[bytes] = []
    ids: list[str | None] = []

    def encoded() -> Iterator[bytes]:
        for index, document in enumerate(documents):
            text, identifier = _text_and_id(document, f"{name}[{index}]")
            texts.append(utf8(text, f"{name}[{index}]"))
            ids.append(identifier)
            yield texts[-1]

    if flaw := documents_flaw(len(documents), encoded(), limits, name, decoded=True):
        raise flaw
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
    return text, read_id(document.get("id"), where)


def read_id(identifier: object, where: str) -> str | None:
    """Return a document's id as a string; None where none is given."""
    if identifier is None:
        return None
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise InvalidArgument(f"{where}: id must be a string or a whole number, not {_kind(identifier)}")
    identifier = str(identifier)
    utf8(identifier, f"{where}.id")
    return identifier


def utf8(text: str, where: str) -> bytes:
    """Return a string's UTF-8; raise ``InvalidRequest``, which says ``where``, for a lone surrogate."""
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
