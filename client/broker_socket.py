"""The socket to the broker, for the one thread that owns it: what it sends now, and what waits here.

ZeroMQ queues for a broker that is gone or stopped, silently and without bound, and delivers all of it to the next
one. So it is given little more than the broker reads; the rest waits here, in order, where ``withdraw`` can drop
what no caller waits for any more.
"""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..protocol.codec import encode
from ..protocol.message import Message

_RECONNECT_MS = 20
_RECONNECT_MAX_MS = 500
#: Messages handed to ZeroMQ and not yet written to the broker's connection; one may have 16 MiB.
_AHEAD = 8
#: More descriptors than a context, a socket and a monitor open.
_DESCRIPTORS = 16
#: Plain ints: these are read on every message, and zmq's own IntFlag is slow.
_READABLE = int(zmq.POLLIN)
_WRITABLE = int(zmq.POLLOUT)
_HELLO = b"hello"


class BrokerSocket:
    """A DEALER that connects to ``path``, again whenever it must, and says ``hello`` to every broker it meets.

    Args:
        path: The broker's socket.
        hello: What to say first to each broker.
        wakened: A descriptor; ``wait`` also returns when there is something to read from it.

    Raises:
        OSError: This process has too few free file descriptors.
    """

    def __init__(self, path: Path, hello: Message, wakened: int) -> None:
        _check_descriptors(wakened)
        self._hello = hello
        self._wakened = wakened
        self._waiting: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._met = False
        #: Whether a process holds the other end: a broker, or a service manager until it has started one.
        self.reached = False
        self._poller = zmq.Poller()
        self._monitor: zmq.Socket[bytes] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.SNDHWM, _AHEAD),
                (zmq.RCVHWM, 0),
                (zmq.RECONNECT_IVL, _RECONNECT_MS),
                (zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS),
            ):
                self._socket.setsockopt(option, value)
            self._monitor = self._socket.get_monitor_socket(
                zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
            )
            self._poller.register(self._monitor, _READABLE)
            self._poller.register(wakened, _READABLE)
            self._socket.connect(f"ipc://{path}")
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_ms: int | None) -> bool:
        """Wait until there is something to do, or ``timeout_ms`` have passed; True if ``wakened`` can be read."""
        self._poller.register(self._socket, _READABLE | (_WRITABLE if self._met and self._waiting else 0))
        return self._wakened in dict(self._poller.poll(timeout_ms))

    def notice(self) -> bool:
        """Note connects and disconnects; True if a new broker must be sent what the last one left unanswered."""
        assert self._monitor is not None
        connected = False
        while int(self._monitor.get(zmq.EVENTS)) & _READABLE:
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_CONNECTED:
                self.reached = True
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._met = connected = True
                self._waiting[_HELLO] = encode(self._hello)
                self._waiting.move_to_end(_HELLO, last=False)
            else:
                self.reached = self._met = connected = False
        return connected

    def send(self, key: bytes, frames: list[bytes]) -> None:
        """Send a message when its turn comes (``flush``); ``key`` tells it from others that wait."""
        self._waiting[key] = frames

    def withdraw(self, key: bytes) -> bool:
        """Drop a message that still waits here; False if it is on its way."""
        return self._waiting.pop(key, None) is not None

    def flush(self) -> list[bytes]:
        """Hand over what waits, as far as a broker is there and reads; return the keys of what went."""
        gone: list[bytes] = []
        while self._met and self._waiting:
            key, frames = next(iter(self._waiting.items()))
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                break
            del self._waiting[key]
            gone.append(key)
        return gone

    def read(self) -> Iterator[list[bytes]]:
        """Yield the messages that came, as frames."""
        while int(self._socket.get(zmq.EVENTS)) & _READABLE:
            yield self._socket.recv_multipart(zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket and its monitor (a monitor left open would hang the context's end)."""
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
        self._socket.close(0)
        self._context.term()


def _check_descriptors(any_open: int) -> None:
    """Check that enough descriptors are free: ZeroMQ aborts the process where it gets none for an epoll."""
    with contextlib.ExitStack() as opened:
        for _ in range(_DESCRIPTORS):
            opened.callback(os.close, os.dup(any_open))
