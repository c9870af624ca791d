"""Which handler a request goes to, and which are refused: 401, 404 and 405 are decided here alone."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .api_key import ApiKeys
from .dialects import split_prefix
from .errors import HttpError, error_response, new_request_id

#: A base URL with a final slash, and a path that begins with one, make two.
_SLASHES = re.compile("/{2,}")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        method: ``GET`` (and ``HEAD``) or ``POST``.
        path: Matched against the whole path, less a dialect's prefix and a final slash.
        handler: Answers it; finds the match in ``request.state.match``.
        open: No API key is needed.
    """

    method: str
    path: str
    handler: Handler
    open: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods it takes."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


class Router:
    """ASGI application that passes each request to its route's handler.

    Args:
        routes: Tried in their order.
        keys: Without one of these, only open routes answer.
    """

    def __init__(self, routes: Sequence[Route], keys: ApiKeys) -> None:
        self._routes = [(re.compile(route.path), route) for route in routes]
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["path"] = _SLASHES.sub("/", scope["path"])
        request = Request(scope, receive, send)
        dialect, rest = split_prefix(scope["path"])  # as it was sent; a parsed URL has lost line breaks
        try:
            handler = self._find(request, rest)
        except HttpError as error:
            response = error_response(error, new_request_id(), dialect.errors)
        else:
            response = await handler(request)
        await response(scope, receive, send)

    def _find(self, request: Request, path: str) -> Handler:
        if len(path) > 1:
            path = path.removesuffix("/")
        routes = [(match, route) for pattern, route in self._routes if (match := pattern.fullmatch(path))]
        request.state.admitted = not self._keys or self._keys.admit(request.headers)
        if not request.state.admitted and not any(route.open for _, route in routes):
            raise HttpError(
                401,
                "unauthorized",
                "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                {"WWW-Authenticate": "Bearer"},
            )
        for match, route in routes:
            if request.method in route.methods:
                request.state.match = match
                return route.handler
        if routes:
            allowed = ", ".join(dict.fromkeys(method for _, route in routes for method in route.methods))
            raise HttpError(405, "method_not_allowed", f"{path} allows {allowed}", {"Allow": allowed})
        raise HttpError(404, "not_found", f"nothing at {path!r}; rerank with POST /v1/rerank")
