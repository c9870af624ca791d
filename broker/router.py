"""A ROUTER on a listening socket: who sent what, and whose connection closed."""

import logging
import socket
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..protocol.limits import MAX_FRAME_BYTES
from ..protocol.messages import Message, encode
from .listener import adopt

logger = logging.getLogger("openvino_reranker.broker")

#: A plain int: this is asked several times a message, and zmq's own flag is an enum.
_READABLE = int(zmq.POLLIN)
#: Messages read at once, before other sockets have their turn ...
_BURST = 64
#: ... and their bytes: a few large requests are enough.
_BURST_BYTES = 1 << 22


class Router:
    """A ROUTER on a listening socket, which also tells whose connection closed and who sent a message."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", listening: tuple[socket.socket, Path]) -> None:
        made, self.path = listening
        self.socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 300),
            (zmq.ROUTER_MANDATORY, 1),  # an answer to nobody is an error, not silence
            (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
            (zmq.SNDHWM, 1000),
            (zmq.RCVHWM, 16),  # of one peer: they may be large, and it waits while the broker is busy
        ):
            self.socket.setsockopt(option, value)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._by_descriptor: dict[int, bytes] = {}
        self._gone: list[bytes] = []
        adopt(self.socket, made, self.path)

    def read(self) -> "list[tuple[bytes, list[bytes], int, int]]":
        """Return some of the messages that came: identity, frames, and the sender's uid and pid."""
        messages = []
        size = 0
        for _ in range(_BURST):
            if size > _BURST_BYTES or not int(self.socket.get(zmq.EVENTS)) & _READABLE:
                break
            parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            identity = parts[0].bytes
            # A descriptor is used again after a close: hear of the close before noting the new owner.
            self._gone.extend(self._drain_monitor())
            source = _source(parts[0])
            if source is None:
                logger.warning("bytes that are not ZeroMQ's came on %s; dropped", self.path)
                continue
            descriptor, uid, pid = source
            self._by_descriptor[descriptor] = identity
            size += sum(map(len, parts))
            messages.append((identity, [part.bytes for part in parts[1:]], uid, pid))
        return messages

    def closed(self) -> list[bytes]:
        """Return the identities of connections that closed since the last call."""
        gone = [*self._gone, *self._drain_monitor()]
        self._gone = []
        return gone

    def _drain_monitor(self) -> list[bytes]:
        gone = []
        while int(self.monitor.get(zmq.EVENTS)) & _READABLE:
            descriptor = int(recv_monitor_message(self.monitor)["value"])
            identity = self._by_descriptor.pop(descriptor, None)
            if identity is not None:
                gone.append(identity)
        return gone

    def send(self, identity: bytes, message: Message) -> bool:
        """Send a message; False if its receiver is gone or does not read."""
        try:
            self.socket.send_multipart([identity, *encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def close(self) -> None:
        """Close the socket and its monitor (a monitor left open would hang the context's end)."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close()


def _source(frame: "zmq.Frame") -> tuple[int, int, int] | None:
    """Return the sender's descriptor, uid and pid, as the kernel told ZeroMQ (``localhost:UID:GID:PID``).

    None for a peer that never shook hands: its bytes looked like a message of ZeroMQ's first version.
    """
    try:
        _, uid, _, pid = str(frame.get("Peer-Address")).rsplit(":", 3)
        return int(frame.get(zmq.SRCFD)), int(uid), int(pid)
    except (zmq.ZMQError, ValueError):
        return None
