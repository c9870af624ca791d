"""The pages for people: ``/`` to try it, ``/status`` to see it work, and what they are made of. Programs get JSON."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..client.aio import AsyncReranker
from ..protocol.errors import RerankError
from ..protocol.status_messages import Status
from .accept import prefers_html
from .errors import HttpError, error_response, json_response, new_request_id
from .openapi import document
from .status_feed import StatusFeed
from .status_report import report

_FOLDER = Path(__file__).with_name("pages")
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: Only what this service sends may run, be shown or be asked, and no text may become markup.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
#: The time the broker may take to answer for its status, s.
_STATUS_S = 2.0


class WebPages:
    """The handlers of pages, of their files, and of the status stream.

    Args:
        reranker: The connection to the broker.
    """

    def __init__(self, reranker: AsyncReranker) -> None:
        self._reranker = reranker
        self._files = {path.name: (path.read_bytes(), _KINDS[path.suffix]) for path in _FOLDER.iterdir()}
        self._index = _index()
        self.feed = StatusFeed(self._look)

    async def try_it(self, request: Request) -> Response:
        """Return the page to try it on, or the index of what there is."""
        if prefers_html(request.headers.get("accept", "")):
            return self._file("try.html", {"Vary": "Accept"})
        return json_response(self._index, headers={"Vary": "Accept"})

    async def status(self, request: Request) -> Response:
        """Return the page that shows what the service does, or the same as JSON, to whoever may see it."""
        if prefers_html(request.headers.get("accept", "")):
            return self._file("status.html", {"Vary": "Accept"})
        try:
            body = report(await self._look())
        except RerankError as error:
            return error_response(error, new_request_id())
        if not request.state.admitted:
            body = {key: body[key] for key in ("ready", "reason")}
        return json_response(body, headers={"Vary": "Accept", "Cache-Control": "no-store"})

    async def events(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Return the status as it changes."""
        return _EventStream(self.feed)

    async def file(self, request: Request) -> Response:
        """Return a file that the pages are made of."""
        return self._file(request.state.match["file"])

    def _file(self, name: str, headers: dict[str, str] | None = None) -> Response:
        if name not in self._files:
            return error_response(HttpError(404, "not_found", f"nothing at /pages/{name}"), new_request_id())
        content, kind = self._files[name]
        return Response(content, media_type=kind, headers=_HEADERS | (headers or {}))

    async def _look(self) -> Status:
        return await self._reranker.status(timeout=_STATUS_S)


class _EventStream(Response):
    """A stream of server-sent events, until the caller goes away or the front stops."""

    media_type = "text/event-stream"

    def __init__(self, feed: StatusFeed) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            del self.headers["content-length"]
            await super().__call__(scope, receive, send)
            return
        try:
            with self._feed.subscribe() as events:
                stream = StreamingResponse(events, headers={"Cache-Control": "no-store"}, media_type=self.media_type)
                await stream(scope, receive, send)
        except RerankError as error:
            await error_response(error, new_request_id())(scope, receive, send)


def _index() -> dict[str, Any]:
    """Return what there is to ask: the API's document in short, and what people look at."""
    operations = [
        {"method": method.upper(), "path": path, "summary": operation["summary"]}
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]
    pages = (
        ("/", "A page to try it; as JSON, this index"),
        ("/status", "A page that shows what the service does; as JSON, all its figures"),
        ("/status/events", "The same once a second, as server-sent events"),
        ("/docs", "A page that shows the API"),
        ("/openapi.json", "The API as an OpenAPI document"),
    )
    shown = [{"method": "GET", "path": path, "summary": summary} for path, summary in pages]
    return {"name": "openvino-reranker", "version": __version__, "endpoints": operations + shown}
