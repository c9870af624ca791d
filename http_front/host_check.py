"""Who may ask: no web page may drive the service through its user's browser.

A page of another site can make a browser send requests to 127.0.0.1. Its ``Origin`` gives it away; a page
that pretends its own name is 127.0.0.1 (DNS rebinding) is given away by ``Host``.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .body_limits import BodyLimits
from .errors import HttpError, error_response, new_request_id

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class HostCheck:
    """ASGI middleware that checks ``Host`` and ``Origin``, and holds bodies to their bounds.

    Args:
        app: What is guarded.
        hosts: Names beside the loopback ones under which the service may be asked.
        origins: Origins (``http://127.0.0.1:3000``) whose pages may ask; none by default.
        bodies: The bounds on bodies.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str], bodies: BodyLimits) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in hosts}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(headers, on_unix_socket=scope.get("server") is None or scope["server"][1] is None)
        except HttpError as error:
            await error_response(error, new_request_id())(scope, receive, send)
            return
        with self._bodies.reading(receive, headers.get("content-length", "")) as counted:
            await self._app(scope, counted, send)

    def _check(self, headers: Headers, *, on_unix_socket: bool) -> None:
        host = _host_name(headers.get("host", ""))
        if host not in self._hosts and not on_unix_socket:
            raise HttpError(
                403, "forbidden_host", f"Host {host!r} is not served here; allow it with --allow-host if it is yours"
            )
        origin = headers.get("origin")
        if origin is not None and origin.rstrip("/").lower() not in self._origins:
            raise HttpError(
                403, "forbidden_origin", f"pages of {origin!r} may not ask; allow it with --allow-origin if it is yours"
            )


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
