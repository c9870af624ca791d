"""The worker's connection to whichever broker listens on the workers' socket.

Invariant: the hello goes out once there is a connection, and again when the broker was lost, asks who we are,
or has not answered it for a while. Until the broker's welcome nothing else is meant for it.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import zmq

from ..protocol.codec import decode_for_worker, encode
from ..protocol.errors import InvalidRequest
from ..protocol.limits import MAX_MESSAGE_BYTES
from ..protocol.message import Message
from ..protocol.worker_messages import BrokerToWorker, Bucket, WorkerHello, WorkerState

logger = logging.getLogger("openvino_reranker.worker")


class BrokerConnection:
    """A DEALER socket and how far the introduction is.

    Args:
        workers_socket: The broker's socket for workers; it may appear later.
        hello: What this worker is; ``update`` keeps it true.
        lost: Called when the broker went away or does not know us: it wants none of the work in hand.

    Attributes:
        welcomed: Whether the broker has answered our hello.
        last_sent: When something was last sent, s (monotonic).
    """

    #: An unanswered hello is repeated after this long, s: a dying broker may have received it.
    hello_again_s: ClassVar[float] = 5.0

    def __init__(self, workers_socket: Path, hello: WorkerHello, lost: Callable[[], None]) -> None:
        self._address = f"ipc://{workers_socket}"
        self.hello = hello
        self._lost = lost
        self._hello_due, self._hello_sent = True, 0.0
        self.welcomed = False
        self.last_sent = 0.0

    def __enter__(self) -> "BrokerConnection":
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)  # without a connection, send fails instead of queueing
        self.socket.connect(self._address)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()
        self._context.term()

    @property
    def events(self) -> int:
        """What to poll the socket for."""
        # Writable means connected; asked only while a broker is looked for, or every poll would return at once.
        return zmq.POLLIN | zmq.POLLOUT if self._hello_due else zmq.POLLIN

    def greet(self) -> None:
        """Say hello, if that is due: the socket is writable."""
        if self._hello_due:
            self._hello_due, self._hello_sent = False, time.monotonic()
            self.send(self.hello)

    def greet_again(self, now: float) -> None:
        """Let the hello be repeated if it has not been answered for long."""
        self._hello_due = self._hello_due or now - self._hello_sent >= self.hello_again_s
        self.last_sent = now

    def note_welcome(self, epoch: str) -> None:
        """Note that the broker has answered the hello."""
        if not self.welcomed:
            logger.info("serving broker %s", epoch)
            self.welcomed = True

    def note_who_are_you(self) -> None:
        """Note that the broker does not know us: it was restarted."""
        if self.welcomed:  # else the hello is on its way
            logger.info("the broker was restarted")
            self._lose()

    def update(self, details: dict[str, Any], buckets: Sequence[Bucket]) -> None:
        """Tell the broker if what the hello said of the device has changed since."""
        if details == self.hello.details:
            return
        now = list(buckets)
        self.send(WorkerState(details, now if now != self.hello.buckets else None))
        self.hello = msgspec.structs.replace(self.hello, details=details, buckets=now)

    def send(self, message: Message) -> None:
        """Send a message; where that is impossible, the broker is lost."""
        self.last_sent = time.monotonic()
        try:
            self.socket.send_multipart(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            if self.welcomed:
                logger.warning("the broker at %s went away; waiting for the next one", self._address)
            self._lose()

    def read(self) -> Iterator[BrokerToWorker]:
        """Yield the messages that have arrived; malformed ones are logged."""
        with contextlib.suppress(zmq.Again):
            while True:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
                try:
                    message = decode_for_worker(frames)
                except InvalidRequest as error:
                    logger.warning("the broker sent a malformed message: %s", error)
                    continue
                yield message

    def _lose(self) -> None:
        self._hello_due = True
        self.welcomed = False
        self._lost()
