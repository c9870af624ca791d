"""What a worker that is still starting says to the broker, so that status pages can show it."""

import os
from pathlib import Path
from types import TracebackType

import zmq

from ..protocol.messages import WorkerStarting, encode


class Announcement:
    """A connection to the broker for the time of starting; the first NPU compile may take minutes.

    The broker need not be there: what cannot be sent is not waited for.
    """

    def __init__(self, workers_socket: Path) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 8)
        self._socket.connect(f"ipc://{workers_socket}")

    def say(self, line: str) -> None:
        """Tell what the worker is doing."""
        try:
            self._socket.send_multipart(encode(WorkerStarting(os.getpid(), line)), zmq.NOBLOCK)
        except zmq.Again:
            return

    def __enter__(self) -> "Announcement":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._context.term()
