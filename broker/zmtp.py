"""ZeroMQ's wire protocol as the broker speaks it (ZMTP 3.1, RFC 37): bytes go in, messages come out.

The broker's peers are ordinary ZeroMQ DEALERs, and this replaces libzmq's ROUTER. That one
collects the parts of a message, without bound and unseen, before it passes any of them on, and cannot disconnect a
peer: one caller could make it use all memory. Here every length is checked when it is announced, before the data is
read.

Invariants:

1. No socket, no clock.
2. A message has at most ``MAX_PARTS`` parts; its first is short. Nothing over a bound is ever kept.
3. After a ``Violation`` nothing more is read from that peer.
"""

from dataclasses import dataclass

#: A message names its version in the first part and says all else in the second (SPEC.md, "Wire protocol").
MAX_PARTS = 2
#: Bytes of the first part of a message. Ours has four.
MAX_FIRST_PART_BYTES = 255
#: Bytes of a command; libzmq's READY has about 40, and up to 255 more if its owner set an identity.
MAX_COMMAND_BYTES = 1024

_GREETING_BYTES = 64
_NULL = b"NULL".ljust(20, b"\0")
_MORE, _LONG, _COMMAND = 1, 2, 4
_PING, _PONG = b"\x04PING", b"\x04PONG"
_TTL_BYTES = 2


def _frame(flags: int, body: bytes) -> bytes:
    return bytes((flags, len(body))) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


#: What the broker sends first, without waiting for the peer: a greeting (version 3.1, no security), and READY.
OPENING = b"".join(
    (
        b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + _NULL + b"\x00" + bytes(31),
        _frame(_COMMAND, b"\x05READY" + _property(b"Socket-Type", b"ROUTER") + _property(b"Identity", b"")),
    )
)


class Violation(Exception):
    """The peer does not speak the protocol, or announced more than is allowed."""


@dataclass(frozen=True, slots=True)
class Parts:
    """One whole message."""

    parts: "list[bytes | bytearray]"


@dataclass(frozen=True, slots=True)
class Reply:
    """What must be sent back now, as it is: the answer to a ping."""

    data: bytes


def head(parts: list[bytes]) -> bytes:
    """Return what goes before the last of a message's parts: the parts before it, framed, and its own length."""
    *first, last = parts
    length = bytes((_LONG,)) + len(last).to_bytes(8, "big") if len(last) > 255 else bytes((0, len(last)))
    return b"".join([_frame(_MORE, part) for part in first]) + length


class Decoder:
    """Decode what one peer sends, from its greeting on.

    Args:
        max_part_bytes: Bytes of a message's second part.
    """

    def __init__(self, max_part_bytes: int) -> None:
        self._most = max_part_bytes
        self._buffer = bytearray()
        self._greeted = False
        #: Whether the handshake is complete.
        self.introduced = False
        self._announced: tuple[int, int] | None = None  # flags and length of the frame whose body is on its way
        self._parts: list[bytes | bytearray] = []

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """Bytes of the frame under way that have not come; 0 while its length is not known."""
        return max(0, self.announced - len(self._buffer))

    @property
    def announced(self) -> int:
        """Bytes of the body of the frame under way; 0 while that is not known."""
        return self._announced[1] if self._announced is not None else 0

    def feed(self, data: "bytes | memoryview") -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next_event(self) -> Parts | Reply | None:
        """Return the next message, or what must be sent back; None until more bytes have come.

        Raises:
            Violation: Says what the peer did wrong.
        """
        if not self._greeted and not self._read_greeting():
            return None
        while (frame := self._next_frame()) is not None:
            flags, body = frame
            if flags & _COMMAND:
                if (reply := self._take_command(bytes(body))) is not None:
                    return reply
                continue
            self._parts.append(body)
            if not flags & _MORE:
                parts, self._parts = self._parts, []
                return Parts(parts)
        return None

    def _read_greeting(self) -> bool:
        """Read the peer's greeting; False until it is whole. It is refused at its first wrong byte."""
        buffer = self._buffer
        if (buffer and buffer[0] != 0xFF) or (len(buffer) > 9 and not buffer[9] & 1):
            raise Violation("it does not speak ZeroMQ's protocol")
        if len(buffer) > 10 and buffer[10] < 3:
            raise Violation(f"it speaks version {buffer[10]} of ZeroMQ's protocol; version 3 is needed (libzmq 4)")
        if len(buffer) < _GREETING_BYTES:
            return False
        if buffer[12:32] != _NULL:
            raise Violation("it requires another security mechanism than NULL")
        del buffer[:_GREETING_BYTES]
        self._greeted = True
        return True

    def _next_frame(self) -> "tuple[int, bytes | bytearray] | None":
        if self._announced is None and not self._read_length():
            return None
        assert self._announced is not None
        flags, size = self._announced
        if len(self._buffer) < size:
            return None
        self._announced = None
        return flags, self._take(size)

    def _read_length(self) -> bool:
        """Read flags and length of the next frame and judge them; False until they are whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        flags = buffer[0]
        if flags & _LONG:
            if len(buffer) < 9:
                return False
            size = int.from_bytes(buffer[1:9], "big")
            del buffer[:9]
        else:
            size = buffer[1]
            del buffer[:2]
        self._judge(flags, size)
        self._announced = flags, size
        return True

    def _judge(self, flags: int, size: int) -> None:
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise Violation(f"its flags {flags:#04x} are not ZeroMQ's")
        if flags & _COMMAND:
            if size > MAX_COMMAND_BYTES:
                raise Violation(f"a command of {size} bytes; the limit is {MAX_COMMAND_BYTES}")
        elif not self.introduced:
            raise Violation("it sent a message before it was ready")
        elif not self._parts:
            if size > MAX_FIRST_PART_BYTES:
                raise Violation(f"a first part of {size} bytes: not a message of this protocol")
        elif flags & _MORE:
            raise Violation(f"a message of more than {MAX_PARTS} parts")
        elif size > self._most:
            raise Violation(f"a message of {size} bytes; the limit is {self._most}")

    def _take(self, size: int) -> "bytes | bytearray":
        """Take ``size`` bytes off the buffer; what is long is not copied."""
        buffer = self._buffer
        if size < 1024 or len(buffer) > 2 * size:
            with memoryview(buffer) as view:
                body: bytes | bytearray = bytes(view[:size])
            del buffer[:size]
            return body
        self._buffer = buffer[size:]
        del buffer[size:]
        return buffer

    def _take_command(self, command: bytes) -> Reply | None:
        if not self.introduced:
            if not command.startswith(b"\x05READY"):
                raise Violation(f"it began with the command {command[1:10]!r}, not with READY")
            self.introduced = True
        elif command.startswith(_PING):
            return Reply(_frame(_COMMAND, _PONG + command[len(_PING) + _TTL_BYTES :]))
        return None
