"""The routes: rerank, health and readiness."""

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..client.aio import AsyncReranker
from ..client.ranking import Ranking
from ..protocol.errors import RerankError, Unavailable
from ..protocol.limits import DEFAULT_LIMITS
from ..protocol.messages import Status
from .body_limits import BodyLimits
from .callers import HEADER, NOBODY, Charge, Connection
from .errors import HttpError, error_response, json_response, new_request_id
from .host_check import HostCheck
from .metrics import CONTENT_TYPE, exposition
from .peer_processes import PeerProcesses
from .rerank_answer import rerank_answer
from .rerank_body import RerankBody, read_rerank_body
from .unhandled_errors import UnhandledErrorMiddleware

logger = logging.getLogger("openvino_reranker.http")

#: The longest body: all texts of the largest request, with room for JSON's quoting.
BODY_BYTES = 2 * DEFAULT_LIMITS.request_bytes + (1 << 20)
#: All bodies that are being read or answered: each is in memory about three times while it is parsed.
ALL_BODIES_BYTES = 4 * BODY_BYTES
#: How long a body may take to come, s: less than a stopping front waits.
BODY_S = 8.0
#: Any version of the rerank path: the answer is the same.
_RERANK_PATH = re.compile(r"(/v[0-9]+)*/(rerank|reranking)/?")

#: A request that takes so long is worth a line in the log, s.
SLOW_S = 2.0

#: Pause between looks for a broker before the first request, s: the first, and the longest.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0

_PAGES = ("/healthz", "/readyz", "/metrics")


class _Gone(Exception):
    """The caller closed its connection."""


def make_app(
    requests_socket: Path, timeout_s: float, allow_hosts: Iterable[str] = (), allow_origins: Iterable[str] = ()
) -> Starlette:
    """Return the ASGI application.

    Args:
        requests_socket: The broker's socket for clients.
        timeout_s: How long a request may take, seconds.
        allow_hosts: ``Host`` names beside the loopback ones.
        allow_origins: Origins whose pages may ask.
    """
    front = _Front(AsyncReranker(requests_socket, name="http_front"), timeout_s)
    origins = [origin.rstrip("/").lower() for origin in allow_origins]
    bodies = BodyLimits(BODY_BYTES, ALL_BODIES_BYTES, BODY_S)
    middleware = [Middleware(HostCheck, hosts=allow_hosts, origins=origins, bodies=bodies)]
    if origins:  # behind the guard: only what it lets in is answered in the browser's way
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                allow_private_network=True,
                expose_headers=["retry-after", "x-request-id"],
            )
        )
    middleware.append(Middleware(UnhandledErrorMiddleware))
    app = Starlette(
        routes=[
            Route("/healthz", front.healthz, methods=["GET"]),
            Route("/readyz", front.readyz, methods=["GET"]),
            Route("/metrics", front.metrics, methods=["GET"]),
            Route("/{path:path}", front.rerank, methods=["POST"]),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _http_exception},
        lifespan=front.lifespan,
    )
    app.state.stopping = front.stopping
    app.state.give_up = front.give_up
    return app


class _Front:
    def __init__(self, reranker: AsyncReranker, timeout_s: float) -> None:
        self._reranker = reranker
        self._timeout_s = timeout_s
        self._asked: set[asyncio.Future[Ranking]] = set()

    def stopping(self) -> None:
        """Wait for the broker of now alone: where it is gone too, callers hear so at once."""
        with contextlib.suppress(RerankError):
            self._reranker.expect_no_other_broker()

    def give_up(self) -> None:
        """Answer all requests that are still at work with ``unavailable``: the front stops."""
        for asked in self._asked:
            asked.cancel()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        introduced = asyncio.create_task(self._introduce())
        processes = PeerProcesses()
        yield {"processes": processes}
        processes.close()
        introduced.cancel()
        await self._reranker.close()

    async def _introduce(self) -> None:
        """Connect to the broker before the first request does, so that status pages show this front."""
        pause_s = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(RerankError):
                await self._reranker.status()
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def healthz(self, _request: Request) -> Response:
        return json_response({"ok": True, "version": __version__})

    async def readyz(self, _request: Request) -> Response:
        try:
            status = await self._reranker.status(timeout=2.0)
        except RerankError as error:
            return json_response({"ready": False, "reason": error.message, "pids": {"http": os.getpid()}}, 503)
        return json_response(_readiness(status), 200 if status.ready else 503)

    async def metrics(self, _request: Request) -> Response:
        try:
            status = await self._reranker.status(timeout=2.0)
        except RerankError as error:
            return error_response(error, new_request_id())
        return Response(exposition(status), media_type=CONTENT_TYPE)

    async def rerank(self, request: Request) -> Response:
        request_id = new_request_id()
        arrived = time.monotonic()
        try:
            path = request.scope["path"]  # as it was sent; a parsed URL has lost line breaks
            if path in _PAGES:
                raise HttpError(405, "method_not_allowed", f"{path} takes GET", {"Allow": "GET"})
            if not _RERANK_PATH.fullmatch(path):
                raise HttpError(404, "not_found", f"nothing at {path!r}; rerank with POST /v1/rerank")
            body = read_rerank_body(await request.body(), DEFAULT_LIMITS)
            ranking = await self._rank(request, body, request_id)
        except RerankError as error:
            answered = error_response(error, request_id)
            _log(request_id, answered.status_code, arrived, error.message if answered.status_code >= 500 else "")
            return answered
        except (_Gone, ClientDisconnect):
            _log(request_id, 499, arrived, "its caller went away")
            return Response(status_code=499)  # nobody reads it
        answer = rerank_answer(ranking, body, request_id, (time.monotonic() - arrived) * 1000)
        _log(request_id, 200, arrived, f"{len(body.texts)} documents")
        return json_response(answer, headers={"x-request-id": request_id})

    async def _rank(self, request: Request, body: RerankBody, request_id: str) -> Ranking:
        """Ask the broker; give up (and free the queue) when the caller goes away."""
        charge = await _charge(request)
        asked = asyncio.ensure_future(
            self._reranker.rerank_encoded(
                body.query,
                body.texts,
                body.ids,
                body.top_k,
                self._timeout_s,
                priority=body.priority,
                max_windows=body.max_windows,
                window_stride=body.window_stride,
                caller=charge.caller,
                stream=charge.stream,
                wire_id=request_id.encode(),  # one id in the logs of front and broker
            )
        )
        gone = asyncio.ensure_future(_disconnected(request))
        self._asked.add(asked)
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asked.cancelled():
                raise Unavailable("the HTTP front was stopped before this request was done")
            if asked.done():
                return asked.result()
            raise _Gone
        finally:
            self._asked.discard(asked)
            asked.cancel()
            gone.cancel()


def _log(request_id: str, status: int, arrived: float, what: str) -> None:
    """One line per request: what failed or took long for everybody to see, the rest for ``--verbose``."""
    seconds = time.monotonic() - arrived
    level = logging.WARNING if status >= 500 else logging.INFO if status not in (200, 499) else logging.DEBUG
    if seconds >= SLOW_S:
        level = max(level, logging.INFO)
    logger.log(level, "%s %d after %.0f ms%s", request_id, status, seconds * 1000, f": {what}" if what else "")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _charge(request: Request) -> Charge:
    """Return who is charged for a request, for fair turns."""
    connection: Connection | None = request.scope.get("state", {}).get("connection")
    return NOBODY if connection is None else await connection.charge(request.headers.get(HEADER))


def _readiness(status: Status) -> dict[str, Any]:
    worker = status.worker
    return {
        "ready": status.ready,
        "reason": status.reason,
        "version": __version__,
        "model": worker.model,
        "device": worker.device,
        "precision": worker.precision,
        "max_length": worker.max_length,
        "worker": msgspec.to_builtins(worker),
        "queue": msgspec.to_builtins(status.queue),
        "counters": status.counters,
        "limits": msgspec.to_builtins(status.limits),
        "pids": status.pids() | {"http": os.getpid()},
        "uptime_s": status.uptime_s,
    }


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 405 and (_RERANK_PATH.fullmatch(path) or path in _PAGES):
        headers = dict(error.headers or {})
        allowed = "GET" if path in _PAGES else "POST"
        return error_response(
            HttpError(405, "method_not_allowed", f"{path} takes {allowed}", headers | {"Allow": allowed}),
            new_request_id(),
        )
    return error_response(
        HttpError(404, "not_found", f"nothing at {path}; rerank with POST /v1/rerank"), new_request_id()
    )
