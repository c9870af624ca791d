"""Raw JSON values, not decoded yet: what they are, and their text or number when it is wanted.

A value is looked at by its first byte, so that none is built only to be refused.
"""

from typing import Any

import msgspec
from msgspec import Raw, UnsetType

from ..client.encoding import utf8
from ..protocol.errors import InvalidRequest, TooLarge

#: The longest text that can be within a bound of bytes, in JSON: each byte at most as an escape.
ESCAPE_BYTES = 6
#: Bytes of the longest scalar that any option can be.
_LONGEST_SCALAR = 1000
_decode_text = msgspec.json.Decoder(str).decode
_decode_scalar = msgspec.json.Decoder(bool | int | float | str | None).decode
_KINDS = {
    ord("n"): "null",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
    ord('"'): "a string",
    ord("["): "an array",
    ord("{"): "an object",
}


def given(value: Raw | UnsetType) -> Raw | None:
    """Return a value that is there and not null."""
    return None if isinstance(value, UnsetType) or bytes(memoryview(value)[:5]) == b"null" else value


def first_byte(value: Raw) -> int:
    """Return the byte that says what kind of value it is."""
    return memoryview(value)[0]


def kind(value: Raw) -> str:
    """Return what a value is, in words."""
    return _KINDS.get(first_byte(value), "a number")


def text(value: Raw, where: str, most_bytes: int) -> bytes:
    """Return a JSON string as UTF-8.

    Raises:
        InvalidRequest: It is no valid Unicode (``TooLarge``: over ``most_bytes``).
    """
    if len(memoryview(value)) > ESCAPE_BYTES * most_bytes + 2:
        raise TooLarge(f"{where} has over {most_bytes} bytes; the limit is {most_bytes}")
    try:
        return utf8(_decode_text(value), where)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{where} is not valid UTF-8: {error.reason} at byte {error.start}") from None


def decode_scalar(value: Raw) -> bool | int | float | str | None:
    """Return a value that is no list and no object.

    Raises:
        InvalidRequest: It is none, or cannot be decoded.
    """
    try:
        scalar: bool | int | float | str | None = _decode_scalar(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequest("neither a valid string nor a number of reasonable size") from None
    return scalar


def option(field: Raw | UnsetType) -> Any:
    """Return an optional field's value; None if it is not given, and itself, raw, if no field is like that."""
    value = given(field)
    if value is None:
        return None
    if first_byte(value) in b"{[" or len(memoryview(value)) > _LONGEST_SCALAR:
        return value
    try:
        return decode_scalar(value)
    except InvalidRequest:
        return value
