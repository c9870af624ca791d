"""The broker's shell: two ROUTERs, their monitors, one poll loop, and the core's actions carried out."""

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from .. import __version__
from ..client.errors import InvalidRequest
from ..client.limits import DEFAULT_LIMITS, MAX_FRAME_BYTES, Limits
from ..client.protocol import Message, decode_from_client, decode_from_worker, encode
from ..client.sockets import REQUESTS_SOCKET, WORKERS_SOCKET
from ..daemon.stop_signal import StopSignal
from .actions import Action, Note, ToClient, ToWorker
from .core import DEFAULT_BATCH_MS, Broker, Peer
from .listener import adopt, listen, make_folder

logger = logging.getLogger("openvino_reranker.broker")

#: How long a stopping broker goes on answering what it had accepted, s.
DRAIN_S = 10.0
#: Messages read from a socket before the other one has its turn.
_BURST = 64


class BrokerServer:
    """Runs a ``Broker`` on two Unix sockets until told to stop.

    Args:
        folder: Where the sockets are made.
        listening: Sockets made by somebody else, by name (``requests``, ``workers``); made here if missing.
        limits: The bounds.
        batch_ms: The device time a batch should take, ms.

    Raises:
        SocketTaken: Another broker runs in the folder.
        OSError: The sockets cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        listening: dict[str, socket.socket] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        batch_ms: float = DEFAULT_BATCH_MS,
    ) -> None:
        listening = dict(listening or {})
        self._own_paths: list[Path] = []
        self._uid = os.getuid()
        self._broker = Broker(
            secrets.token_hex(8),
            time.monotonic(),
            version=__version__,
            pid=os.getpid(),
            limits=limits,
            batch_ms=batch_ms,
        )
        self._stop_at: float | None = None
        self._context = zmq.Context()
        self._clients = _Router(self._context, self._listening("requests", folder / REQUESTS_SOCKET, 0o660, listening))
        self._workers = _Router(self._context, self._listening("workers", folder / WORKERS_SOCKET, 0o600, listening))

    def _listening(
        self, name: str, path: Path, mode: int, given: dict[str, socket.socket]
    ) -> tuple[socket.socket, Path]:
        if name in given:
            return given[name], Path(given[name].getsockname())
        make_folder(path.parent)
        made = listen(path, mode)
        self._own_paths.append(path)
        return made, path

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then answer what is left, within ``DRAIN_S``; a second signal ends it."""
        logger.info("broker is listening on %s", self._clients.path)
        with StopSignal() as stop:
            try:
                self._loop(stop)
            finally:
                self._carry_out(self._broker.abandon(time.monotonic()))
                for path in self._own_paths:
                    path.unlink(missing_ok=True)
                self._clients.close()
                self._workers.close()
                self._context.term()
        logger.info("broker stopped")

    def _loop(self, stop: StopSignal) -> None:
        poller = zmq.Poller()
        poller.register(stop, zmq.POLLIN)
        for router in (self._clients, self._workers):
            poller.register(router.socket, zmq.POLLIN)
            poller.register(router.monitor, zmq.POLLIN)
        while not self._stopped():
            poller.poll(self._timeout_ms())
            if stop.count:
                self._drain(stop)
            self._read_workers()
            self._read_clients()
            # After reading: what a peer said before it closed counts.
            for gone in self._workers.closed():
                self._carry_out(self._broker.worker_gone(gone, time.monotonic()))
            for gone in self._clients.closed():
                self._carry_out(self._broker.client_gone(gone, time.monotonic()))
            self._carry_out(self._broker.tick(time.monotonic()))

    def _drain(self, stop: StopSignal) -> None:
        stop.clear()
        if self._stop_at is None:
            self._stop_at = time.monotonic() + DRAIN_S
            self._broker.drain()
            logger.info("stopping: nothing new is accepted, %r", self._broker)
        if stop.count > 1:
            self._stop_at = time.monotonic()

    def _stopped(self) -> bool:
        return self._stop_at is not None and (self._broker.idle or time.monotonic() >= self._stop_at)

    def _timeout_ms(self) -> int | None:
        due = [each for each in (self._broker.next_wakeup(), self._stop_at) if each is not None]
        return max(0, int((min(due) - time.monotonic()) * 1000) + 1) if due else None

    def _read_clients(self) -> None:
        for identity, frames, uid, pid in self._clients.read():
            peer = Peer(identity, f"{uid}:{pid}", trusted=uid == self._uid)
            try:
                message = decode_from_client(frames)
            except InvalidRequest as error:
                self._carry_out(self._broker.client_nonsense(identity, error))
                continue
            self._carry_out(self._broker.client_message(peer, message, time.monotonic()))

    def _read_workers(self) -> None:
        for identity, frames, uid, pid in self._workers.read():
            if uid not in (self._uid, 0):
                logger.warning("a process of uid %s (pid %s) spoke on the workers' socket; ignored", uid, pid)
                continue
            try:
                message = decode_from_worker(frames)
            except InvalidRequest as error:
                logger.warning("the worker (pid %s) sent what is no message: %s", pid, error)
                continue
            self._carry_out(self._broker.worker_message(identity, message, time.monotonic()))

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Note(level=level, text=text):
                    logger.log(getattr(logging, level.upper()), "%s", text)
                case ToClient(peer=peer, message=message):
                    if not self._clients.send(peer, message):
                        self._carry_out(self._broker.client_gone(peer, time.monotonic()))
                case ToWorker(worker=worker, message=message):
                    if not self._workers.send(worker, message):
                        self._carry_out(self._broker.worker_gone(worker, time.monotonic()))


class _Router:
    """A ROUTER on a listening socket, which also tells whose connection closed and who sent a message."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", listening: tuple[socket.socket, Path]) -> None:
        made, self.path = listening
        self.socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 300),
            (zmq.ROUTER_MANDATORY, 1),  # an answer to nobody is an error, not silence
            (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
            (zmq.SNDHWM, 1000),
            (zmq.RCVHWM, 1000),
        ):
            self.socket.setsockopt(option, value)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._by_descriptor: dict[int, bytes] = {}
        self._gone: list[bytes] = []
        adopt(self.socket, made, self.path)

    def read(self) -> "list[tuple[bytes, list[bytes], int, int]]":
        """Return up to ``_BURST`` messages: identity, frames, and the sender's uid and pid."""
        messages = []
        with contextlib.suppress(zmq.Again):
            for _ in range(_BURST):
                parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                identity = parts[0].bytes
                # A descriptor is used again after a close: hear of the close before noting the new owner.
                self._gone.extend(self._drain_monitor())
                self._by_descriptor[int(parts[0].get(zmq.SRCFD))] = identity
                uid, pid = _credentials(parts[0])
                messages.append((identity, [part.bytes for part in parts[1:]], uid, pid))
        return messages

    def closed(self) -> list[bytes]:
        """Return the identities of connections that closed since the last call."""
        gone = [*self._gone, *self._drain_monitor()]
        self._gone = []
        return gone

    def _drain_monitor(self) -> list[bytes]:
        gone = []
        while self.monitor.poll(0):
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


def _credentials(frame: "zmq.Frame") -> tuple[int, int]:
    """Return the sender's uid and pid, as the kernel told ZeroMQ: ``localhost:UID:GID:PID``."""
    _, uid, _, pid = str(frame.get("Peer-Address")).rsplit(":", 3)
    return int(uid), int(pid)
