"""The HTTP front's process: a listening socket, uvicorn, and a clean end."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ..daemon.heartbeat import Heartbeat
from ..daemon.notify import Notifier
from ..daemon.unix_socket import SocketTaken, listen
from .connection import Protocol

logger = logging.getLogger("openvino_reranker.http")

#: How long a stopping front waits for the answers it owes, s.
DRAIN_S = 10
#: This long before that it gives up requests in progress, s: time to tell their callers.
_LAST_WORD_S = 1
#: How long a connection may idle between two requests, s: longer than clients keep one (httpx 5, aiohttp 15), or they
#: would now and then send a request at the moment it is closed, and see it fail.
KEEP_ALIVE_S = 60


class PortTaken(Exception):
    """The address cannot be listened on; the message names it and says what to do."""


def bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to ``host`` and ``port`` (0: any free one) and listening.

    Raises:
        PortTaken: It is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "stop what uses it, or choose another with --port or OPENVINO_RERANKER_PORT"
        ) from error
    return listening


def bind_unix(path: Path) -> socket.socket:
    """Return a socket that listens on ``path``, for its owner and group (0660).

    Raises:
        PortTaken: It is in use, or may not be used.
    """
    try:
        return listen(path, 0o660, "another process (pid {pid}) is listening on {path}; choose another with --uds")
    except SocketTaken as error:
        raise PortTaken(str(error)) from None
    except OSError as error:
        raise PortTaken(f"cannot listen on {path}: {error.strerror}; choose another with --uds") from error


def serve(
    app: Starlette, listening: Sequence[socket.socket], names: Sequence[str], notifier: Notifier | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress, within ``DRAIN_S``.

    Args:
        app: What answers.
        listening: The sockets to serve, TCP or Unix.
        names: Where they listen, in words.
        notifier: The connection to the service manager, if there is one.
    """
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",  # whatever else is installed: nothing here speaks it, and a connection's limits would end there
        proxy_headers=False,  # who asks is who is connected, whatever a header says
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    where = " and ".join(names)
    logger.info("HTTP front is listening on %s", where)
    asyncio.run(
        _Server(config, where, Heartbeat(notifier), app.state.stopping, app.state.give_up).serve(list(listening))
    )
    logger.info("HTTP front stopped")


def address(listening: socket.socket) -> str:
    """Return where a socket listens, in words."""
    name = listening.getsockname()
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else str(name)


class _Server(uvicorn.Server):
    """uvicorn's server, reporting to the service manager."""

    def __init__(
        self,
        config: uvicorn.Config,
        names: str,
        heartbeat: Heartbeat,
        stopping: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._give_up = give_up
        self._names = names
        self._heartbeat = heartbeat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._heartbeat.ready(self._status_line())

    async def on_tick(self, counter: int) -> bool:
        """Tell what is due; uvicorn's loop calls this ten times a second."""
        self._heartbeat.beat(time.monotonic(), self._status_line)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was begun, and say so."""
        self._heartbeat.stopping(f"stopping: {len(self.server_state.tasks)} requests are still being answered")
        self._stopping()
        asyncio.get_running_loop().call_later(DRAIN_S - _LAST_WORD_S, self._give_up)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal, at once at the second, whichever they are."""
        self.force_exit = self.should_exit
        if self.force_exit:  # what is cut off now was meant to be: no traceback for each
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)

    def _status_line(self) -> str:
        state = self.server_state
        return (
            f"listening on {self._names}: {len(state.tasks)} requests in progress on "
            f"{len(state.connections)} connections, {state.total_requests} so far"
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal and exit with 0: asked to stop and stopped is no failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
