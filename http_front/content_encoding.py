"""``Content-Encoding``: gzip is read, within the bounds on bodies; nothing else is."""

import zlib

from ..protocol.errors import InvalidRequest, TooLarge
from .errors import HttpError

_GZIP = 16 + zlib.MAX_WBITS


def is_gzip(encoding: str) -> bool:
    """Return whether a body of this ``Content-Encoding`` is to be inflated.

    Raises:
        HttpError: 415: nobody here can read it.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return False
    if name in ("gzip", "x-gzip"):
        return True
    raise HttpError(
        415, "unsupported_encoding", f"Content-Encoding {encoding!r} is not supported; send gzip, or no encoding"
    )


def inflate(data: bytes | bytearray, most_bytes: int) -> bytearray:
    """Return what gzip compressed; never more than ``most_bytes``, whatever the data says.

    Raises:
        InvalidRequest: It is not gzip, or not all of it.
        TooLarge: It is more than ``most_bytes``.
    """
    inflated = bytearray()
    left: bytes | memoryview = memoryview(data)
    while left or not inflated:
        inflater = zlib.decompressobj(_GZIP)
        try:
            inflated += inflater.decompress(left, most_bytes + 1 - len(inflated))
        except zlib.error as error:
            raise InvalidRequest(f"the body is not valid gzip: {error}") from None
        if len(inflated) > most_bytes:
            raise TooLarge(f"the inflated body has more than {most_bytes} bytes")
        if not inflater.eof:
            raise InvalidRequest("the body is not valid gzip: it ends too early")
        left = inflater.unused_data
        if not left:
            break
    return inflated
