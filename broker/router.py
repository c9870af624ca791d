"""The broker's end of one of its sockets: accepts connections, yields messages with their senders, sends answers.

It takes the place of libzmq's ROUTER (``zmtp`` says why), and bounds what peers can make it hold:
what they have announced, what was kept of it, what they do not read. A peer over a bound is disconnected, alone.
"""

import errno
import logging
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path

from ..protocol.codec import encode
from ..protocol.limits import MAX_MESSAGE_BYTES
from ..protocol.message import Message
from .connection import CHUNK_BYTES, Connection
from .connection_table import ConnectionTable
from .reading_turns import ReadingTurns
from .receive_budget import ReceiveBudget
from .zmtp import Violation

logger = logging.getLogger("openvino_reranker.broker")

#: Connections open at once. Each may hold a chunk of input and a chunk of answers.
MAX_CONNECTIONS = 1024
#: Large messages arriving at once, of all peers: four of the largest, bytes.
RECEIVING_BYTES = 4 * MAX_MESSAGE_BYTES
#: What all peers together may leave unread before one that leaves more than a chunk is disconnected, bytes.
UNSENT_BYTES = 32 << 20
#: Messages read before others have their turn ...
_BURST = 64
#: ... and bytes.
_BURST_BYTES = 1 << 22
#: Connections accepted before others have their turn.
_ACCEPTED = 8
#: The most that is read at once of a large message, bytes.
_SCRATCH_BYTES = 1 << 18
#: Accepting resumes after this long when the process was out of descriptors, s.
_ACCEPT_AGAIN_S = 1.0
#: How long a closing router goes on sending its last messages, s.
_LINGER_S = 0.3
#: Shortest time between two log lines about disconnected peers, s.
_COMPLAIN_EVERY_S = 1.0

_HUNG_UP = select.EPOLLHUP | select.EPOLLERR


class Router:
    """A listening socket and its connections; poll it for reading, then ``read``.

    Args:
        listening: The socket; it belongs to the router from now on.
        path: Where clients find it.
        farewell: The last message to a peer that is disconnected, given the reason.
        max_unsent_bytes: How much one peer may leave unread.
        uids: Who may connect; None for all whom the socket's permissions admit.
    """

    def __init__(
        self,
        listening: socket.socket,
        path: Path,
        farewell: Callable[[str], Message],
        max_unsent_bytes: int,
        uids: Collection[int] | None = None,
    ) -> None:
        self._listening = listening
        self.path = path
        self._farewell = farewell
        self._max_unsent = max_unsent_bytes
        self._uids = uids
        self._listening.setblocking(False)  # one made by systemd arrives blocking
        self._epoll = select.epoll()
        self._epoll.register(self._listening.fileno(), select.EPOLLIN)
        self._identities = count(1)
        self._connections = ConnectionTable()
        self._turns: ReadingTurns[Connection] = ReadingTurns()
        self._budget: ReceiveBudget[Connection] = ReceiveBudget(RECEIVING_BYTES, MAX_MESSAGE_BYTES)
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._gone: list[bytes] = []
        self._paused = False
        self._accept_at: float | None = None
        self._dropped = 0
        self._complain_at = 0.0

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._epoll.fileno()

    @property
    def unread(self) -> bool:
        """Whether ``read`` left something for its next call."""
        return bool(self._turns)

    # --- reading --------------------------------------------------------------------------------------

    def read(self, until: float) -> "Iterator[tuple[Connection, list[bytes | bytearray]]]":
        """Yield some of the messages that came and who sent each; processes take turns.

        Args:
            until: When to leave the rest for the next call (monotonic).
        """
        self._look()
        size = 0
        for _ in range(_BURST):
            if not self._turns:
                break
            connection = self._turns.next()
            if connection.closed or not self._readable(connection):
                continue
            try:
                received, parts = self._read(connection)
            except Violation as violation:
                self._drop(connection, str(violation))
                continue
            size += received
            if connection.introduced and self._uids is not None and connection.uid not in self._uids:
                self._drop(connection, "its user is not allowed on this socket")
                continue
            if parts is not None:
                yield connection, parts
            if size > _BURST_BYTES or time.monotonic() >= until:
                break

    def _read(self, connection: Connection) -> "tuple[int, list[bytes | bytearray] | None]":
        """Take the next message of a connection, reading once if it is not here yet; return also the bytes read."""
        size = 0
        parts = connection.next_message()
        if parts is None:
            received = connection.receive(self._scratch)
            if received is None:
                self._close(connection)
                return 0, None
            size = received
            parts = connection.next_message()
        if parts is not None and connection.claims:
            connection.claims = False
            self._make_room(connection)
        elif parts is None and connection.large_message and not connection.claims:
            connection.claims = True
            connection.admitted = self._budget.ask(
                connection, connection.process, connection.large_message, time.monotonic()
            )
            self._watch(connection)
        if connection.unread or (parts is not None and connection.buffered):
            self._turns.add(connection)
        return size, parts

    def closed(self) -> list[bytes]:
        """Return the identities of connections that closed since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def pause(self) -> None:
        """Read and accept nothing more; answers still go out, and closed connections are still reported."""
        self._paused = True
        self._accept_at = None
        self._listen(False)
        for connection in self._connections:
            self._watch(connection)

    # --- time -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what time asks for: make room where others wait for it, accept again."""
        for connection in self._budget.overdue(now):
            self._drop(connection, "its message did not arrive in time while others were waiting")
        if self._accept_at is not None and now >= self._accept_at:
            self._accept_at = None
            self._listen(True)

    def next_wakeup(self) -> float | None:
        """Return when ``tick`` is due, or None."""
        due = (self._budget.next_wakeup(), self._accept_at)
        return min((time for time in due if time is not None), default=None)

    # --- sending --------------------------------------------------------------------------------------

    def send(self, identity: bytes, message: Message) -> bool:
        """Send a message; False if its receiver is gone, or is disconnected because it does not read."""
        connection = self._connections.get(identity)
        if connection is None:
            return False
        if not connection.send(encode(message)):
            self._close(connection)
            return False
        if unsent := connection.unsent_bytes:
            self._watch(connection)
            if unsent > self._max_unsent or (unsent > CHUNK_BYTES and self._connections.unsent_bytes > UNSENT_BYTES):
                self._drop(connection, f"it left {unsent} bytes of answers unread")
                return False
        return True

    def close(self) -> None:
        """Send what is left to be sent, within ``_LINGER_S``, and close everything."""
        self.pause()
        until = time.monotonic() + _LINGER_S
        while self._connections.unsent_bytes and (left := until - time.monotonic()) > 0:
            self._epoll.poll(left)
            self._look()
        for connection in self._connections:
            self._close(connection)
        self._epoll.close()
        self._listening.close()

    # --- connections ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Poll the kernel: which connections can be read or written, hung up, or wait to be accepted."""
        for descriptor, events in self._epoll.poll(0):
            if descriptor == self._listening.fileno():
                self._accept()
                continue
            connection = self._connections.at(descriptor)
            if connection is None:
                continue  # closed a moment ago, for another's sake
            if events & select.EPOLLOUT:
                if not connection.flush():
                    self._close(connection)
                    continue
                self._watch(connection)
            if self._readable(connection):
                if events & ~select.EPOLLOUT:
                    self._turns.add(connection)
            elif events & _HUNG_UP:
                self._close(connection)

    def _readable(self, connection: Connection) -> bool:
        return connection.admitted and not self._paused

    def _watch(self, connection: Connection) -> None:
        """Register the events we want of a connection with the kernel; a hang-up is always reported."""
        events = (select.EPOLLIN if self._readable(connection) else 0) | (
            select.EPOLLOUT if connection.unsent_bytes else 0
        )
        if events != connection.watched:
            connection.watched = events
            self._epoll.modify(connection.descriptor, events)

    def _make_room(self, connection: Connection) -> None:
        """Take back the room a connection had or waited for, and give it to those that wait."""
        self._budget.leave(connection)
        for other in self._budget.admit(time.monotonic()):
            other.admitted = True
            self._watch(other)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno == errno.EMFILE and self._connections:
                    self._make_place("the broker is out of file descriptors")
                else:  # the machine is out of some resource: new connections wait
                    logger.warning("cannot accept connections on %s for now: %s", self.path, error)
                    self._accept_at = time.monotonic() + _ACCEPT_AGAIN_S
                    self._listen(False)
                return
            self._add(Connection(accepted, next(self._identities).to_bytes(5, "big"), MAX_MESSAGE_BYTES))

    def _add(self, connection: Connection) -> None:
        self._connections.add(connection)
        connection.watched = select.EPOLLIN
        self._epoll.register(connection.descriptor, connection.watched)
        if len(self._connections) > MAX_CONNECTIONS:
            self._make_place(f"there are {MAX_CONNECTIONS} connections")

    def _make_place(self, reason: str) -> None:
        """Drop the newest connection of the processes that have the most."""
        connection, most = self._connections.most_dispensable()
        self._drop(connection, f"{reason}, {most} of this process")

    def _listen(self, accept: bool) -> None:
        self._epoll.modify(self._listening.fileno(), select.EPOLLIN if accept else 0)

    def _drop(self, connection: Connection, reason: str) -> None:
        """Disconnect a peer that exceeded a bound; log the reason, and send it.

        Not before its handshake is complete: libzmq would take the message for a fault of the protocol, and never
        connect again.
        """
        self._dropped += 1
        if (now := time.monotonic()) >= self._complain_at:
            self._complain_at = now + _COMPLAIN_EVERY_S
            logger.warning(
                "disconnected pid %d of uid %d from %s: %s (%d disconnected so far)",
                connection.pid,
                connection.uid,
                self.path.name,
                reason,
                self._dropped,
            )
        if connection.introduced:
            connection.send(encode(self._farewell(reason)))
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._epoll.unregister(connection.descriptor)
        connection.close()
        self._gone.append(connection.identity)
        self._make_room(connection)
