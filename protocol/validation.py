"""What a request may hold, checked on its UTF-8 wherever one enters: the client, the HTTP front, the broker.

Flaws are returned and not raised: a raised error holds its frames, and with them the request's texts.
"""

from collections.abc import Iterable

from .errors import InvalidRequest, TooLarge
from .limits import Limits


def query_flaw(query: bytes, limits: Limits, *, decoded: bool = False) -> InvalidRequest | None:
    """Return what is wrong with a query, or None: blank, over the bound, or not valid UTF-8.

    Args:
        query: Its UTF-8.
        limits: The bounds.
        decoded: It was made of a string, so it is valid.
    """
    if len(query) > limits.query_bytes:
        return TooLarge(f"query has {len(query)} bytes; the limit is {limits.query_bytes}")
    if not decoded and (flaw := _utf8_flaw(query, "query")):
        return flaw
    if not query.decode().strip():
        return InvalidRequest("query is empty")
    return None


def documents_flaw(
    count: int, documents: Iterable[bytes], limits: Limits, name: str = "documents", *, decoded: bool = False
) -> InvalidRequest | None:
    """Return the first thing that is wrong with a request's documents, or None.

    Args:
        count: How many there are.
        documents: Their UTF-8; no more of them are taken once a bound is passed.
        limits: The bounds.
        name: What the caller calls the list, for messages.
        decoded: They were made of strings, so they are valid.
    """
    if not count:
        return InvalidRequest(f"{name} is empty; at least one document is needed")
    if count > limits.documents:
        return TooLarge(f"{count} {name}; the limit is {limits.documents} in one request")
    total = 0
    for index, document in enumerate(documents):
        if len(document) > limits.document_bytes:
            return TooLarge(f"{name}[{index}] has {len(document)} bytes; the limit is {limits.document_bytes}")
        total += len(document)
        if total > limits.request_bytes:
            return TooLarge(f"the {name} have at least {total} bytes together; the limit is {limits.request_bytes}")
        if not decoded and (flaw := _utf8_flaw(document, f"{name}[{index}]")):
            return flaw
    return None


def _utf8_flaw(text: bytes, where: str) -> InvalidRequest | None:
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            return InvalidRequest(f"{where} is not valid UTF-8: {error.reason} at byte {error.start}")
    return None
