"""Host and Origin checks: no web page may drive the service through its user's browser.

A page of another site can make a browser send requests to 127.0.0.1. Its ``Origin`` reveals it, unless that is the
address the request was sent to: then the page is our own. One whose own name resolves to 127.0.0.1 (DNS rebinding) is
revealed by ``Host``.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .dialects import split_prefix
from .errors import HttpError, error_response, new_request_id

_ABSOLUTE = re.compile(r"(?i:https?)://(?P<authority>[^/]*)(?P<path>/.*)?", re.DOTALL)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class HostCheck:
    """ASGI middleware that checks ``Host`` and ``Origin``.

    Args:
        app: The application to protect.
        hosts: Names beside the loopback ones under which the service may be asked.
        origins: Origins (``http://127.0.0.1:3000``) whose pages may ask; none by default.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in hosts}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = _use_origin_form(scope)
        try:
            self._check(
                Headers(scope=scope), host, on_unix_socket=scope.get("server") is None or scope["server"][1] is None
            )
        except HttpError as error:
            dialect, _ = split_prefix(scope["path"])
            await error_response(error, new_request_id(), dialect.errors)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers, authority: str | None, *, on_unix_socket: bool) -> None:
        host = _host_name(headers.get("host", "") if authority is None else authority)
        if host not in self._hosts and not on_unix_socket:
            raise HttpError(
                403, "forbidden_host", f"Host {host!r} is not served here; allow it with --allow-host if it is yours"
            )
        origin = headers.get("origin")
        if origin is not None and not self._may_ask(origin.rstrip("/").lower(), headers.get("host", "").lower()):
            raise HttpError(
                403,
                "forbidden_origin",
                f"pages of {origin!r} may not use this service; allow it with --allow-origin if it is yours",
            )

    def _may_ask(self, origin: str, host: str) -> bool:
        """Return whether pages of ``origin`` may ask: those that were let in, and those that came from here."""
        return origin in self._origins or (bool(host) and origin in (f"http://{host}", f"https://{host}"))


def _use_origin_form(scope: Scope) -> str | None:
    """Turn an absolute-form target (``http://host/path``) into its path; return its host, which outranks ``Host``."""
    match = _ABSOLUTE.fullmatch(scope["path"])
    if match is None:
        return None
    scope["path"] = match["path"] or "/"
    scope["raw_path"] = scope["path"].encode()
    return match["authority"]


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
