"""What a starting worker is doing, reported to the broker for status pages."""

import os
import threading
from pathlib import Path
from types import TracebackType

import zmq

from ..protocol.codec import encode
from ..protocol.worker_messages import WorkerStarting

#: The line is repeated after this long, s: the broker may have started, or been restarted, since.
REPEAT_S = 1.0
#: How often to look for a broker while there is none, s.
LOOK_EVERY_S = 0.1


class Announcement:
    """A connection to the broker for the time of starting; the first NPU compile may take minutes.

    A thread owns the socket, because the starting worker is busy. It sends the newest line at once and repeats it, and
    it queues nothing while there is no broker: what is shown is what is done now.

    Args:
        workers_socket: The broker's socket for workers; it may appear later.
        line: What the worker is doing at first.
    """

    def __init__(self, workers_socket: Path, line: str) -> None:
        self._address = f"ipc://{workers_socket}"
        self._line = line
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="announcement", daemon=True)

    def say(self, line: str) -> None:
        """Report what the worker is doing."""
        self._line = line
        self._changed.set()

    def __enter__(self) -> "Announcement":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        context = zmq.Context()
        with context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IMMEDIATE, 1)  # without a connection, send says so instead of queueing
            socket.connect(self._address)
            while not self._stopping:
                self._changed.clear()
                self._changed.wait(REPEAT_S if self._send(socket) else LOOK_EVERY_S)
        context.term()

    def _send(self, socket: "zmq.Socket[bytes]") -> bool:
        """Send the newest line; False while there is no broker."""
        try:
            socket.send_multipart(encode(WorkerStarting(os.getpid(), self._line)), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
