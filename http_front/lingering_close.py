"""Closing a connection whose caller is still sending, so that it reads its answer.

Closing a socket with unread bytes in it makes the kernel reset the connection, and the caller, still busy
sending, never sees the answer. So our side is shut down first, and what still arrives is read and discarded,
within bounds of bytes and time, until the caller has closed its own side (nginx calls this a lingering close).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

#: How much is discarded, bytes.
MOST_BYTES = 256 << 20
#: For how long, s: at most, and without anything arriving.
LONGEST_S = 30.0
IDLE_S = 5.0


class LingeringTransport(asyncio.Transport):
    """A transport whose ``close`` waits for a caller that is still sending.

    Args:
        transport: The real one.
        loop: The event loop.
        owes_body: Whether the caller is still sending a body.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, owes_body: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._owes_body = owes_body
        self._left: int | None = None  # bytes that may still come, while it lingers
        self._longest: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Close the connection, now or after what is still coming."""
        if self._left is not None:
            return
        if self._transport.is_closing() or not self._owes_body():
            self._transport.close()
            return
        self._left = MOST_BYTES
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()  # after what is still to be written
        self._transport.resume_reading()
        self._longest = self._loop.call_later(LONGEST_S, self.end)
        self._idle = self._loop.call_later(IDLE_S, self.end)

    def discards(self, size: int) -> bool:
        """Return whether ``size`` bytes that came are discarded, because the connection is being closed."""
        if self._left is None:
            return False
        self._left -= size
        if self._idle is not None:
            self._idle.cancel()
        if self._left < 0:
            self.end()
        elif not self._transport.is_closing():
            self._idle = self._loop.call_later(IDLE_S, self.end)
        return True

    def end(self) -> None:
        """Stop lingering."""
        for timer in (self._longest, self._idle):
            if timer is not None:
                timer.cancel()
        if self._left is not None:
            self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or will be soon."""
        return self._left is not None or self._transport.is_closing()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def write(self, data: Any) -> None:
        """Write; nothing more where our side is shut down."""
        if self._left is None:
            self._transport.write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop reading, unless input is discarded."""
        if self._left is None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Return whether bytes are read."""
        return self._transport.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass the connection to another protocol."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._transport.get_protocol()
