"""Unforeseen exceptions: logged once, answered with 500 as JSON."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .dialects import split_prefix
from .errors import HttpError, error_response, new_request_id

logger = logging.getLogger("openvino_reranker.http")


class UnhandledErrorMiddleware:
    """ASGI middleware that answers an unforeseen exception with 500 and logs it once.

    starlette's own answers it outside of the middleware, where a web page could not read it, and raises it
    again, so that uvicorn logs the same traceback once more.

    Args:
        app: What may fail.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise  # too late for another answer: uvicorn cuts the connection
            request_id = new_request_id()
            logger.error("%s failed", request_id, exc_info=error)
            broken = HttpError(
                500, "internal_error", f"internal error in the HTTP front; its log has the details under {request_id}"
            )
            dialect, _ = split_prefix(scope["path"])
            await error_response(broken, request_id, dialect.errors)(scope, receive, send)
