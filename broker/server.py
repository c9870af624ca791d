"""The broker's shell: two routers and one poll loop, which carries out the core's actions."""

import logging
import math
import os
import secrets
import select
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import __version__
from ..daemon.heartbeat import Heartbeat
from ..daemon.notify import Notifier
from ..daemon.standstill import StandstillDetector
from ..daemon.stop_signal import StopSignal
from ..protocol.client_messages import Refusal, Rerank, Scores
from ..protocol.codec import decode_from_client, decode_from_worker
from ..protocol.errors import InvalidRequest
from ..protocol.limits import DEFAULT_LIMITS, MAX_MESSAGE_BYTES, Limits
from ..protocol.message import Message
from ..protocol.worker_messages import Batch, Dismissed, WindowPlan
from .actions import Action, Note, ToClient, ToWorker
from .core import DEFAULT_BATCH_MS, DEFAULT_CACHE_BYTES, DEFAULT_PLAN, Broker
from .grace_period import GracePeriod
from .own_sockets import OwnSockets, path_of
from .peer import Peer
from .router import Router

logger = logging.getLogger("openvino_reranker.broker")

#: How long a stopping broker goes on answering what it had accepted, s.
DRAIN_S = 10.0
#: How long clients are read before it is the worker's turn, s, and how long the worker is, which is given up only once
#: all its messages are read.
TURN_S, WORKERS_TURN_S = 0.02, 1.0
#: The longest sleep while a timeout may have to be applied, s.
LOOK_EVERY_S = 1.0
#: How much a client, and a worker, may leave unread before it is disconnected, bytes.
CLIENT_UNREAD_BYTES, WORKER_UNREAD_BYTES = 4 << 20, 4 * MAX_MESSAGE_BYTES


class BrokerServer:
    """Runs a ``Broker`` on two Unix sockets until told to stop.

    Args:
        folder: Where the sockets are made.
        listening: Sockets passed in, by name (``requests``, ``workers``); made here if missing.
        outlived: Whether another broker follows on these sockets once this one is told to stop: what it leaves
            unread is then asked of that one.
        limits: The bounds.
        batch_ms: The device time a batch should take, ms.
        plan: How long documents are read when a request does not say.
        cache_bytes: Memory of the score cache; 0: none.
        notifier: The service manager's socket, if there is one.
        drain_s: How long it goes on answering what it had accepted once it was told to stop, s.

    Raises:
        SocketTaken: Another broker runs in the folder.
        OSError: The sockets cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        listening: Mapping[str, socket.socket] | None = None,
        outlived: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        batch_ms: float = DEFAULT_BATCH_MS,
        plan: WindowPlan = DEFAULT_PLAN,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        notifier: Notifier | None = None,
        drain_s: float = DRAIN_S,
    ) -> None:
        listening = listening or {}
        self._outlived = outlived
        self._heartbeat = Heartbeat(notifier)
        self._drain_s = drain_s
        self._uid = os.getuid()
        self._broker = Broker(
            secrets.token_hex(8),
            time.monotonic(),
            version=__version__,
            pid=os.getpid(),
            limits=limits,
            batch_ms=batch_ms,
            plan=plan,
            cache_bytes=cache_bytes,
        )
        self._standstill = StandstillDetector(time.monotonic())
        self._grace_period = GracePeriod(time.monotonic())
        self._stop_at: float | None = None
        self._own = OwnSockets(folder, exclude=listening)
        sockets = {**listening, **self._own.listening}
        self._clients = Router(
            sockets["requests"],
            path_of("requests", sockets["requests"], folder),
            farewell=lambda reason: Refusal(b"", InvalidRequest.code, reason),
            max_unsent_bytes=CLIENT_UNREAD_BYTES,
        )
        self._workers = Router(
            sockets["workers"],
            path_of("workers", sockets["workers"], folder),
            farewell=lambda reason: Dismissed(reason, replaced=False),
            max_unsent_bytes=WORKER_UNREAD_BYTES,
            uids=(self._uid, 0),
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then answer what is left, within ``drain_s``; a second signal ends it."""
        logger.info("broker is listening on %s", self._clients.path)
        with StopSignal() as stop:
            try:
                self._heartbeat.ready(self._status_line())
                self._loop(stop)
            finally:
                if not self._outlived:
                    self._carry_out(self._broker.abandon(time.monotonic()))
                self._own.remove()
                self._clients.close()
                self._workers.close()
        logger.info("broker stopped")

    def _loop(self, stop: StopSignal) -> None:
        poller = select.poll()
        for source in (stop, self._clients, self._workers):
            poller.register(source.fileno(), select.POLLIN)
        while not self._stopped():
            began = time.monotonic()
            allowed_s = self._timeout_s(began)
            poller.poll(None if allowed_s is None else math.ceil(allowed_s * 1000))
            now = time.monotonic()
            self._note_standstill(now, now - began, allowed_s)
            if stop.count:
                self._drain(stop)
            self._read_clients(now + TURN_S)
            self._tick()

    def _note_standstill(self, now: float, waited: float = 0.0, allowed_s: float | None = None) -> None:
        if self._standstill.note(now, waited, allowed_s):
            self._grace_period.begin(now)
            self._broker.resume(now)

    def _tick(self) -> None:
        """Apply timeouts, once everything that workers have sent until then is read."""
        now = time.monotonic()
        self._note_standstill(now)  # it may have come since the wait
        self._read_workers(now + WORKERS_TURN_S)
        # After reading: what a peer said before it closed counts.
        for gone in self._workers.closed():
            self._carry_out(self._broker.worker_gone(gone, now))
        for gone in self._clients.closed():
            self._carry_out(self._broker.client_gone(gone, now))
        if self._grace_period.over(now) and not self._workers.unread:
            self._carry_out(self._broker.tick(now))
        for router in (self._clients, self._workers):
            router.tick(now)
        self._heartbeat.beat(now, self._status_line)

    def _drain(self, stop: StopSignal) -> None:
        stop.clear()
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._drain_s
            self._broker.drain()
            if self._outlived:
                self._clients.pause()  # a refusal would be an answer; the next broker has a better
            logger.info("stopping: no new requests are accepted; %s", self._broker.summary())
            self._heartbeat.stopping(self._status_line())
        if stop.count > 1:
            self._stop_at = time.monotonic()

    def _stopped(self) -> bool:
        if self._stop_at is None:
            return False
        # Whoever stops us stops the workers too: one that has left is not followed by another.
        return self._broker.idle or not self._broker.expects_worker or time.monotonic() >= self._stop_at

    def _timeout_s(self, now: float) -> float | None:
        """Return how long to wait for events at most, s; None for as long as there are none."""
        if self._clients.unread or self._workers.unread:
            return 0.0
        wakeups = [self._stop_at, self._heartbeat.next_wakeup()]
        wakeups += [router.next_wakeup() for router in (self._clients, self._workers)]
        if (due := self._broker.next_wakeup()) is not None:
            # Not in one sleep: a long one would hide a stall of our own.
            wakeups.append(min(self._grace_period.earliest(due), now + LOOK_EVERY_S))
        due = min((each for each in wakeups if each is not None), default=None)
        return None if due is None else max(0.0, due - now)

    def _status_line(self) -> str:
        _, reason = self._broker.ready(time.monotonic())
        return f"{reason}: {self._broker.summary()}"

    def _read_clients(self, until: float) -> None:
        for connection, parts in self._clients.read(until):
            peer = Peer(connection.identity, connection.process, trusted=connection.uid == self._uid)
            try:
                message = decode_from_client(parts)
            except InvalidRequest as error:
                self._carry_out(self._broker.client_malformed(peer.identity, error))
                continue
            if isinstance(message, Rerank):
                logger.debug(
                    "request %s of %s%s: %d documents, %s",
                    _shown(message.id),
                    peer.caller,
                    f" for {message.caller!r}" if message.caller else "",
                    len(message.documents),
                    message.priority,
                )
            self._carry_out(self._broker.client_message(peer, message, time.monotonic()))

    def _read_workers(self, until: float) -> None:
        for connection, parts in self._workers.read(until):
            try:
                message = decode_from_worker(parts)
            except InvalidRequest as error:
                logger.warning("the worker (pid %s) sent a malformed message: %s", connection.pid, error)
                continue
            self._carry_out(self._broker.worker_message(connection.identity, message, time.monotonic()))

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Note(level=level, text=text):
                    logger.log(getattr(logging, level.upper()), "%s", text)
                case ToClient(peer=peer, message=message):
                    if logger.isEnabledFor(logging.DEBUG):
                        _log_answer(message)
                    if not self._clients.send(peer, message):
                        self._carry_out(self._broker.client_gone(peer, time.monotonic()))
                case ToWorker(worker=worker, message=message):
                    if isinstance(message, Batch) and logger.isEnabledFor(logging.DEBUG):
                        requests = ", ".join(map(_shown, self._broker.requests_in(message.batch)))
                        logger.debug("batch %d: %d pairs of %s", message.batch, len(message.pairs), requests)
                    if not self._workers.send(worker, message):
                        number = message.batch if isinstance(message, Batch) else 0
                        self._carry_out(self._broker.batch_undelivered(worker, number, time.monotonic()))


def _log_answer(message: Message) -> None:
    match message:
        case Scores(id=request_id, timings_ms=timings):
            logger.debug(
                "request %s: scores after %.1f ms, %.1f of them waiting",
                _shown(request_id),
                timings.total,
                timings.queue,
            )
        case Refusal(id=request_id, code=code):
            logger.debug("request %s: %s", _shown(request_id), code)


def _shown(request_id: bytes) -> str:
    """Return an id as it can stand in a log: the HTTP front's are text, others are not."""
    text = request_id.decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else request_id.hex()
