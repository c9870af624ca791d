"""``/openapi.json`` and ``/docs``: the API's document, and a page that shows it without the network."""

from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from swagger_ui_bundle import swagger_ui_path

from .errors import HttpError, error_response, new_request_id
from .openapi import document

_OURS = Path(__file__).with_name("static")
_SWAGGER_UI = Path(swagger_ui_path)
#: What the page is made of: its name behind ``/docs/``, where it is, and its type.
_FILES = {
    "": (_OURS / "docs.html", "text/html"),
    "docs.js": (_OURS / "docs.js", "text/javascript"),
    "swagger-ui-bundle.js": (_SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (_SWAGGER_UI / "swagger-ui.css", "text/css"),
}
#: Only content of this service may run, be shown or be requested; Swagger UI draws with inline styles and images.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Docs:
    """The handlers of the API's document and its page."""

    def __init__(self) -> None:
        self._document = msgspec.json.encode(document())

    async def openapi(self, _request: Request) -> Response:
        """Return the OpenAPI document."""
        return Response(self._document, media_type="application/json")

    async def page(self, request: Request) -> Response:
        """Return the page, or a file it is made of."""
        name = request.state.match["file"] or ""
        if name not in _FILES:
            return error_response(HttpError(404, "not_found", f"nothing at /docs/{name}"), new_request_id())
        path, kind = _FILES[name]
        return Response(path.read_bytes(), media_type=kind, headers=_HEADERS)
