"""One accepted connection: its owner, what was received but not yet read, and what could not yet be sent."""

import socket
import struct

from .zmtp import OPENING, Decoder, Reply, head

#: What is read at once, bytes. A message of this size or less needs no room in the budget.
CHUNK_BYTES = 1 << 15

#: What is written at once, bytes; a socket's buffer holds about 200 KiB.
_PIECE_BYTES = 1 << 20
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: unix(7), SO_PEERCRED


class Connection:
    """A peer's connection, from accept to close. It never waits.

    Args:
        accepted: The accepted socket; the connection takes ownership.
        identity: What the broker calls it.
        max_message_bytes: The largest message it may send.
    """

    def __init__(self, accepted: socket.socket, identity: bytes, max_message_bytes: int) -> None:
        accepted.setblocking(False)
        self.identity = identity
        self.pid, self.uid, _ = _CREDENTIALS.unpack(
            accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        #: Who is behind it: the process that connected.
        self.process = f"{self.uid}:{self.pid}"
        self.descriptor = accepted.fileno()
        self.closed = False
        #: Whether a large message is arriving, and whether it has room, so that it may be read.
        self.claims = False
        self.admitted = True
        #: The events registered with the kernel.
        self.watched = 0
        #: Whether there may be more to read than was read last.
        self.unread = False
        self._socket = accepted
        self._decoder = Decoder(max_message_bytes)
        self._unsent = bytearray()
        self._write(OPENING)

    @property
    def buffered(self) -> bool:
        """Whether something came that ``next_message`` has not taken."""
        return bool(len(self._decoder))

    @property
    def introduced(self) -> bool:
        """Whether the handshake is complete: only then does the peer take messages."""
        return self._decoder.introduced

    @property
    def unsent_bytes(self) -> int:
        """How much could not yet be sent."""
        return len(self._unsent)

    @property
    def large_message(self) -> int:
        """Bytes of the message under way, if it needs room; else 0."""
        announced = self._decoder.announced
        return announced if announced > CHUNK_BYTES else 0

    def receive(self, into: memoryview) -> int | None:
        """Read some of what has come, at most what ``into`` holds; return how many bytes, None if the peer is gone."""
        requested = min(max(CHUNK_BYTES, self._decoder.missing), len(into))
        try:
            size = self._socket.recv_into(into, requested)
        except BlockingIOError:
            self.unread = False
            return 0
        except OSError:
            return None
        if not size:
            return None
        self.unread = size == requested
        self._decoder.feed(into[:size])
        return size

    def next_message(self) -> "list[bytes | bytearray] | None":
        """Return the next whole message's parts, None until more has come; answer pings on the way.

        Raises:
            Violation: The peer does not speak the protocol.
        """
        reply: Reply | None = None
        while isinstance(event := self._decoder.next_event(), Reply):
            reply = event  # one answer is enough for many pings
        if reply is not None and self.unsent_bytes < CHUNK_BYTES:
            self._write(reply.data)
        return None if event is None else event.parts

    def send(self, parts: list[bytes]) -> bool:
        """Send a message, as much of it as goes now, and keep the rest; False if the peer is gone."""
        return self._write(head(parts), parts[-1])

    def flush(self) -> bool:
        """Send what was kept, as much of it as goes now; False if the peer is gone."""
        try:
            while self._unsent:
                with memoryview(self._unsent) as unsent:
                    size = self._socket.send(unsent[:_PIECE_BYTES])
                del self._unsent[:size]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the connection; what was kept is dropped."""
        self.closed = True
        self._unsent.clear()
        self._socket.close()

    def _write(self, *pieces: bytes) -> bool:
        size = 0
        if not self._unsent:
            try:
                size = self._socket.sendmsg(pieces)
            except BlockingIOError:
                pass
            except OSError:
                return False
        for piece in pieces:
            with memoryview(piece) as view:
                self._unsent += view[size:]
            size = max(0, size - len(piece))
        return True
