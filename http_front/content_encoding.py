"""``Content-Encoding``: gzip is read, within the bounds on bodies; nothing else is."""

import zlib

from ..protocol.errors import InvalidRequest, TooLarge
from .errors import HttpError

_GZIP = 16 + zlib.MAX_WBITS
#: Bytes decompressed per step, so that little is held twice.
_PIECE_BYTES = 1 << 20
#: Members that a body may be made of: each costs a copy of what follows it, even one that holds nothing.
MOST_MEMBERS = 1000


def is_gzip(encoding: str) -> bool:
    """Return whether a body of this ``Content-Encoding`` is to be inflated.

    Raises:
        HttpError: 415: the encoding is not supported.
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
    """Return what gzip compressed; never more than ``most_bytes``, whatever the data claims.

    Raises:
        InvalidRequest: It is not gzip, or not all of it, or of more than ``MOST_MEMBERS`` members.
        TooLarge: It is more than ``most_bytes``.
    """
    inflated = bytearray()
    inflater = zlib.decompressobj(_GZIP)
    members = 1
    for start in range(0, len(data), _PIECE_BYTES):
        piece: bytes | memoryview = memoryview(data)[start : start + _PIECE_BYTES]
        while piece:
            if inflater.eof:  # another member follows
                inflater = zlib.decompressobj(_GZIP)
                members += 1
                if members > MOST_MEMBERS:
                    raise InvalidRequest(f"the gzip body has more than {MOST_MEMBERS} members")
            _inflate_piece(inflater, piece, inflated, most_bytes)
            piece = inflater.unconsumed_tail or inflater.unused_data
    while not inflater.eof and _inflate_piece(inflater, b"", inflated, most_bytes):
        pass
    if not inflater.eof:
        raise InvalidRequest("the body is not valid gzip: it ends too early")
    return inflated


def _inflate_piece(
    inflater: "zlib._Decompress", piece: bytes | memoryview, inflated: bytearray, most_bytes: int
) -> int:
    """Append what a piece gives, at most ``_PIECE_BYTES`` at a time; return how many bytes that was."""
    try:
        text = inflater.decompress(piece, _PIECE_BYTES)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not valid gzip: {error}") from None
    if len(inflated) + len(text) > most_bytes:
        inflated.clear()  # the error's traceback holds it for a while
        raise TooLarge(f"the inflated body has more than {most_bytes} bytes")
    inflated += text
    return len(text)
