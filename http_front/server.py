"""The HTTP front's process: a listening socket, uvicorn, and a clean end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

logger = logging.getLogger("openvino_reranker.http")

#: How long a stopping front waits for the answers it owes, s.
DRAIN_S = 10


class PortTaken(Exception):
    """The address cannot be listened on; the message names it and says what to do."""


def bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to ``host`` and ``port`` (0: any free one) and listening.

    Raises:
        PortTaken: Somebody else has it, or it may not be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(1024)
    except OSError as error:
        made.close()
        raise PortTaken(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "stop what uses it, or choose another with --port or OPENVINO_RERANKER_PORT"
        ) from error
    return made


def serve(app: Starlette, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun, within ``DRAIN_S``."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    name = listening.getsockname()
    logger.info("HTTP front is listening on %s", f"{name[0]} port {name[1]}" if isinstance(name, tuple) else name)
    asyncio.run(_Server(config).serve([listening]))
    logger.info("HTTP front stopped")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal and exit with 0: asked to stop and stopped is no failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
