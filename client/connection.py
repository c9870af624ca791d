"""The process's one connection to the broker: a thread that owns the socket, and futures for everybody else.

ZeroMQ sockets belong to one thread, so the sync client, the async client and the HTTP front all hand their
requests to this thread and wait for a future. A request is written to the socket by the thread alone; a
broker that comes back under the same socket is asked again, once, for what it had not answered (the dead
broker may have taken it with it, and inference is pure).
"""

import atexit
import contextlib
import logging
import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import cast

import zmq
from zmq.utils.monitor import recv_monitor_message

from .errors import InvalidRequest, RerankError, Unavailable
from .pending import PendingTable
from .protocol import (
    Cancel,
    GetStatus,
    Hello,
    Message,
    RequestClass,
    Rerank,
    Scores,
    Status,
    decode_from_broker,
    encode,
)
from .sockets import check_listening, check_socket

logger = logging.getLogger(__name__)

_RECONNECT_MS = 20
_RECONNECT_MAX_MS = 500


class Connection:
    """A connection to the broker at ``path``, for all threads of this process.

    Use ``Connection.shared``: connections to one path are one, counted by their users, and made anew in a
    forked child (a socket and its thread do not cross a fork).
    """

    _shared: "dict[Path, Connection]" = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._users = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._commands: deque[Callable[[], object]] = deque()
        self._pending = PendingTable()
        self._closing = False
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="openvino-reranker-client", daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls, path: Path, name: str = "client") -> "Connection":
        """Return this process's connection to ``path``; give it back with ``release``.

        Raises:
            Unavailable: There is no socket at ``path``, nobody listens on it, or this user may not use it.
        """
        check_socket(path)
        with cls._shared_lock:
            connection = cls._shared.get(path)
            if connection is None or not connection.usable:
                check_listening(path)
                connection = cls._shared[path] = cls(path, name)
            connection._users += 1
            return connection

    @property
    def usable(self) -> bool:
        """Whether this process (not its parent before a fork) still runs the connection."""
        return self._pid == os.getpid() and self._thread.is_alive()

    def release(self) -> None:
        """Give the connection back; the last user closes it."""
        if self._pid != os.getpid():
            return
        with self._shared_lock:
            self._users -= 1
            if self._users > 0:
                return
            if self._shared.get(self._path) is self:
                del self._shared[self._path]
        self.close()

    def close(self) -> None:
        """End the connection; whatever still waits is answered ``Unavailable``."""
        self._post(self._stop)
        self._thread.join()

    def rerank(
        self,
        query: bytes,
        documents: list[bytes],
        deadline_ms: int,
        priority: RequestClass = "interactive",
        caller: str | None = None,
        request_id: bytes | None = None,
    ) -> "tuple[bytes, Future[Scores]]":
        """Send a request; return its id (``request_id`` if given) for ``cancel``, and the future of its answer."""
        request = Rerank(request_id or uuid.uuid4().bytes, query, documents, deadline_ms, priority, caller)
        return request.id, cast("Future[Scores]", self._send(request))

    def status(self) -> "Future[Status]":
        """Ask the broker for its status."""
        return cast("Future[Status]", self._send(GetStatus(uuid.uuid4().bytes)))

    def cancel(self, request_id: bytes) -> None:
        """Forget a request, here and at the broker."""
        self._post(lambda: self._do_cancel(request_id))

    # --- the thread ---------------------------------------------------------------------------------

    def _send(self, request: Rerank | GetStatus) -> "Future[Scores | Status]":
        check_socket(self._path)
        frames = encode(request)
        with self._lock:
            answer = self._pending.add(request)
        self._post(lambda: self._socket.send_multipart(frames))
        return answer

    def _post(self, command: Callable[[], object]) -> None:
        self._commands.append(command)
        with contextlib.suppress(BlockingIOError, OSError):
            # A full pipe already wakes the thread; a closed one means it has ended.
            self._waker.send(b"\0")
        if not self._thread.is_alive():
            self._fail_all(Unavailable("the connection to the broker was closed"))

    def _do_cancel(self, request_id: bytes) -> None:
        with self._lock:
            known = self._pending.forget(request_id)
        if known:
            self._write(Cancel(request_id))

    def _write(self, message: Message) -> None:
        self._socket.send_multipart(encode(message))

    def _stop(self) -> None:
        self._closing = True

    def _fail_all(self, error: RerankError) -> None:
        with self._lock:
            self._pending.fail_all(error)

    def _run(self) -> None:
        context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        monitor = None
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.SNDHWM, 0),  # the broker reads always and refuses in the protocol
                (zmq.RCVHWM, 0),
                (zmq.RECONNECT_IVL, _RECONNECT_MS),
                (zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS),
            ):
                self._socket.setsockopt(option, value)
            monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            self._socket.connect(f"ipc://{self._path}")
            self._write(Hello(self._name, os.getpid()))
            self._loop(monitor)
        except Exception as error:
            logger.exception("the connection to the broker failed")
            self._fail_all(Unavailable(f"the connection to the broker failed: {error}"))
        finally:
            self._fail_all(Unavailable("the connection to the broker was closed"))
            self._waker.close()
            self._wakened.close()
            if monitor is not None:
                self._socket.disable_monitor()
                monitor.close(0)
            self._socket.close(0)
            context.term()

    def _loop(self, monitor: "zmq.Socket[bytes]") -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        poller.register(self._wakened, zmq.POLLIN)
        connected_before = False
        while not self._closing:
            ready = dict(poller.poll())
            if monitor in ready:
                recv_monitor_message(monitor)
                if connected_before:
                    self._ask_again()
                connected_before = True
            if self._wakened.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(4096)
            while self._commands:
                self._commands.popleft()()
            if self._socket in ready:
                self._read_answers()

    def _ask_again(self) -> None:
        """Say hello to the broker that came back and repeat, once, what the last one left unanswered."""
        self._write(Hello(self._name, os.getpid()))
        with self._lock:
            requests = self._pending.to_resend()
        for request in requests:
            self._write(request)

    def _read_answers(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                try:
                    message = decode_from_broker(frames)
                except InvalidRequest as error:
                    self._fail_all(Unavailable(f"the broker at {self._path} answered nonsense: {error}"))
                    continue
                with self._lock:
                    self._pending.resolve(message)


def _forget_parents_connections() -> None:
    """In a forked child: the parent's threads do not exist here, so neither do its connections."""
    Connection._shared = {}
    Connection._shared_lock = threading.Lock()


def _close_at_exit() -> None:
    for connection in list(Connection._shared.values()):
        if connection.usable:
            connection.close()


os.register_at_fork(after_in_child=_forget_parents_connections)
atexit.register(_close_at_exit)
