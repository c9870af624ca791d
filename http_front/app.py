"""The ASGI application: the middleware, and which paths lead to which handlers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from ..client.aio import AsyncReranker
from ..protocol.errors import RerankError
from .api_key import ApiKeys
from .body_reader import BODY_S, LARGE_BODIES_BYTES, SMALL_BODIES_BYTES, BodyReader
from .body_room import BodyRoom
from .dialects import RERANK_PATH
from .docs import Docs
from .host_check import HostCheck
from .peer_processes import PeerProcesses
from .rerank import RerankHandler
from .router import Route, Router
from .service_info import ServiceInfo
from .unhandled_errors import UnhandledErrorMiddleware
from .web_pages import WebPages

#: Pause between attempts to reach a broker before the first request, s: the first, and the longest.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


def make_app(
    requests_socket: Path,
    timeout_s: float,
    allow_hosts: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    *,
    keys: ApiKeys | None = None,
    strict_model: bool = False,
) -> Starlette:
    """Return the ASGI application.

    Args:
        requests_socket: The broker's socket for clients.
        timeout_s: How long a request may take, seconds.
        allow_hosts: ``Host`` names beside the loopback ones.
        allow_origins: Origins whose pages may ask.
        keys: The API keys; without any, no request needs one.
        strict_model: Refuse requests that name another model than the one that serves.
    """
    reranker = AsyncReranker(requests_socket, name="http_front")
    bodies = BodyReader(BodyRoom(LARGE_BODIES_BYTES, SMALL_BODIES_BYTES, BODY_S), seconds=BODY_S)
    rerank = RerankHandler(reranker, bodies, timeout_s, strict_model=strict_model)
    service = ServiceInfo(reranker, strict_model=strict_model)
    docs = Docs()
    pages = WebPages(reranker)
    router = Router(
        (
            Route("POST", RERANK_PATH, rerank),
            Route("GET", r"/healthz|/health|/ping|/\.well-known/live", service.health, open=True),
            Route("GET", r"/readyz|/\.well-known/ready", service.ready, open=True),
            Route("GET", r"/metrics", service.metrics),
            Route("GET", r"/info", service.info),
            Route("GET", r"(?:/v[0-9]+)?/models", service.models),
            Route("GET", r"(?:/v[0-9]+)?/models/(?P<name>.+)", service.model),
            Route("GET", r"/openapi\.json", docs.openapi, open=True),
            Route("GET", r"/docs(?:/(?P<file>[a-z.-]+))?", docs.page, open=True),
            Route("GET", r"/", pages.try_it, open=True),
            Route("GET", r"/status", pages.status, open=True),
            Route("GET", r"/status/events", pages.events),
            Route("GET", r"/pages/(?P<file>[a-z.-]+)", pages.file, open=True),
        ),
        keys or ApiKeys(()),
    )
    front = _Front(reranker, rerank, pages)
    app = Starlette(middleware=_middleware(allow_hosts, allow_origins), lifespan=front.lifespan)
    app.router.default = router
    app.state.stopping = front.stopping
    app.state.give_up = rerank.give_up
    return app


def _middleware(allow_hosts: Iterable[str], allow_origins: Iterable[str]) -> list[Middleware]:
    origins = [origin.rstrip("/").lower() for origin in allow_origins]
    middleware = [Middleware(HostCheck, hosts=allow_hosts, origins=origins)]
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
    return middleware


class _Front:
    """What starts and stops with the application."""

    def __init__(self, reranker: AsyncReranker, rerank: RerankHandler, pages: WebPages) -> None:
        self._reranker = reranker
        self._rerank = rerank
        self._pages = pages

    def stopping(self) -> None:
        """End the streams, and wait for no other broker: if this one is gone too, callers are answered at once."""
        self._pages.feed.close()
        with contextlib.suppress(RerankError):
            self._reranker.expect_no_other_broker()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        introduced = asyncio.create_task(self._introduce())
        processes = PeerProcesses()
        yield {"processes": processes}
        introduced.cancel()
        processes.close()
        self._rerank.close()
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
