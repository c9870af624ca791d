"""The process's one connection to the broker: a thread that owns the socket, and futures for all other threads.

ZeroMQ sockets belong to one thread, so the sync client, the async client and the HTTP front all pass their
requests to this thread and wait for a future. Only the thread writes to the socket. What a broker that died
had not answered is sent to the next one under the same socket (inference is pure), a few times at most; if
nothing listens on the socket any more, it is answered ``Unavailable`` after ``RECONNECT_WINDOW_S``.
"""

import atexit
import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import cast

from ..protocol.client_messages import Cancel, Hello, Refusal, Rerank, Scores
from ..protocol.codec import decode_from_broker, encode
from ..protocol.errors import InvalidRequest, RerankError, Unavailable, WrongVersion
from ..protocol.message import RequestClass
from ..protocol.socket_paths import check_listening, check_socket
from ..protocol.status_messages import GetStatus, Status
from .broker_socket import BrokerSocket
from .pending import PendingTable

logger = logging.getLogger(__name__)

#: How long the socket may have no listener before requests in progress are given up, s: ``serve`` restarts a dead
#: broker sooner, and with systemd the socket is never without a listener.
RECONNECT_WINDOW_S = 5.0
#: How often to look for a listener while there is none, ms.
_LOOK_MS = 100


class Connection:
    """A connection to the broker at ``path``, for all threads of this process.

    Use ``Connection.shared``: connections to one path are one, counted by their users, and reopened in a
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
        self._commands: deque[Callable[[BrokerSocket], object]] = deque()
        self._pending = PendingTable()
        self._reached = True  # a process listened a moment ago (``shared``); the thread will soon know better
        self._closing = False
        self._reconnect_window_s = RECONNECT_WINDOW_S
        self._unheard_since: float | None = None  # since when the socket has had no listener
        self._ended: Unavailable | None = None
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="openvino-reranker-client", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._waker.close()
            self._wakened.close()
            raise

    @classmethod
    def shared(cls, path: Path, name: str = "client") -> "Connection":
        """Return this process's connection to ``path``; give it back with ``release``.

        Raises:
            Unavailable: There is no socket at ``path``, nobody listens on it, this user may not use it, or
                this process can open no more descriptors or start no more threads.
        """
        with cls._shared_lock:
            connection = cls._shared.get(path)
            if connection is None or not connection.usable:
                check_socket(path)
                check_listening(path)
                try:
                    connection = cls._shared[path] = cls(path, name)
                except (OSError, RuntimeError) as error:  # no descriptor, no thread
                    raise Unavailable(f"cannot connect to {path}: {error}") from None
            connection._users += 1
            return connection

    @property
    def usable(self) -> bool:
        """Whether this process (not its parent before a fork) still runs the connection."""
        return self._pid == os.getpid() and self._ended is None

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
        self._post(lambda _: self._stop())
        self._thread.join()

    def rerank(
        self,
        query: bytes,
        documents: list[bytes],
        deadline_ms: int,
        priority: RequestClass = "interactive",
        caller: str | None = None,
        stream: str | None = None,
        request_id: bytes | None = None,
        max_windows: int | None = None,
        window_stride: int | None = None,
        *,
        use_cache: bool = True,
    ) -> "tuple[bytes, Future[Scores]]":
        """Send a request; return its id (``request_id`` if given) for ``cancel``, and the future of its answer.

        Raises:
            Unavailable: No broker is connected, and there is none to connect to.
        """
        request = Rerank(
            request_id or uuid.uuid4().bytes,
            query,
            documents,
            deadline_ms,
            priority,
            caller,
            stream,
            max_windows,
            window_stride,
            use_cache,
        )
        return request.id, cast("Future[Scores]", self._send(request))

    def status(self) -> "tuple[bytes, Future[Status]]":
        """Ask the broker for its status; returns and raises as ``rerank``."""
        request = GetStatus(uuid.uuid4().bytes)
        return request.id, cast("Future[Status]", self._send(request))

    def expect_no_other_broker(self) -> None:
        """Answer requests under way as soon as nobody listens on the socket, from now on."""
        self._reconnect_window_s = 0.0
        self._post(lambda _: None)

    def cancel(self, request_id: bytes) -> None:
        """Forget a request, here and at the broker; one that is answered is forgotten already."""
        with self._lock:
            request = self._pending.forget(request_id)
        if request is not None:
            self._post(lambda broker: self._withdraw(broker, request))

    def _send(self, request: Rerank | GetStatus) -> "Future[Scores | Status]":
        if not self._reached:
            # Not connected, or not yet. Where nobody listens either, there is nothing to wait for.
            check_socket(self._path)
            check_listening(self._path)
        frames = encode(request)
        with self._lock:
            if self._ended is not None:
                raise Unavailable(self._ended.message)
            answer = self._pending.add(request)
        self._post(lambda broker: broker.send(request.id, frames))
        return answer

    def _post(self, command: Callable[[BrokerSocket], object]) -> None:
        self._commands.append(command)
        with contextlib.suppress(OSError):
            # A full pipe already wakes the thread; a closed one means it has ended.
            self._waker.send(b"\0")

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        end = Unavailable("the connection to the broker was closed")
        try:
            with contextlib.closing(
                BrokerSocket(self._path, Hello(self._name, self._pid), self._wakened.fileno())
            ) as broker:
                self._loop(broker)
        except Exception as error:
            logger.exception("the connection to the broker failed")
            end = Unavailable(f"the connection to the broker failed: {error}")
        finally:
            with self._lock:
                self._ended = end
                self._pending.fail_all(end)
            self._waker.close()
            self._wakened.close()

    def _loop(self, broker: BrokerSocket) -> None:
        while not self._closing:
            if broker.wait(None if broker.reached or not self._pending else _LOOK_MS):
                self._wakened.recv(4096)
            connected = broker.notice()
            # What a broker said before it went counts: it is read before anything is given up or sent again.
            for frames in broker.read():
                self._read_answer(frames)
            if connected:
                self._resend(broker)
            self._reached = broker.reached
            self._look_for_a_listener()
            while self._commands:
                self._commands.popleft()(broker)
            if gone := broker.flush():
                with self._lock:
                    self._pending.note_sent(gone)

    def _stop(self) -> None:
        self._closing = True

    def _look_for_a_listener(self) -> None:
        """Give up requests in progress if the socket has had no listener for some time."""
        if self._reached or not self._pending:
            self._unheard_since = None
            return
        try:
            check_listening(self._path)
        except Unavailable as error:
            now = time.monotonic()
            if self._unheard_since is None:
                self._unheard_since = now
            if now - self._unheard_since >= self._reconnect_window_s:
                self._fail_all(error)
        else:
            self._unheard_since = None

    def _resend(self, broker: BrokerSocket) -> None:
        """Send again what the last broker was sent and left unanswered."""
        with self._lock:
            requests = self._pending.to_resend()
        for request in requests:
            broker.send(request.id, encode(request))

    @staticmethod
    def _withdraw(broker: BrokerSocket, request: Rerank | GetStatus) -> None:
        if not broker.withdraw(request.id) and isinstance(request, Rerank):
            broker.send(request.id, encode(Cancel(request.id)))

    def _read_answer(self, frames: list[bytes]) -> None:
        try:
            message = decode_from_broker(frames)
        except WrongVersion as error:
            self._fail_all(error)
        except InvalidRequest as error:
            self._fail_all(Unavailable(f"the broker at {self._path} sent an invalid message: {error}"))
        else:
            if isinstance(message, Refusal) and not message.id:
                self._refused_unread(message)
                return
            with self._lock:
                self._pending.resolve(message)

    def _refused_unread(self, refusal: Refusal) -> None:
        """Take the refusal of a message that the broker could not read, so that it cannot say which."""
        if refusal.code == WrongVersion.code:
            self._fail_all(WrongVersion(refusal.message))
        else:
            logger.warning("the broker refused a message of ours: %s: %s", refusal.code, refusal.message)

    def _fail_all(self, error: RerankError) -> None:
        with self._lock:
            self._pending.fail_all(error)


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
