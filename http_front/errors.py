"""Errors as HTTP answers: one JSON body that every known client can read."""

import math
import secrets
from typing import Any

import msgspec
from starlette.responses import Response

from ..protocol.errors import RerankError


class HttpError(RerankError):
    """An error of HTTP itself: no such path, wrong method, a host or origin that may not ask.

    Attributes:
        headers: Headers the answer must carry (``Allow`` with 405).
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.http_code = code
        self.headers = headers or {}


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``body`` as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def error_response(error: RerankError, request_id: str) -> Response:
    """Return the answer for an error.

    ``message`` and ``detail`` are plain strings because Cohere's, LangChain's and LlamaIndex's clients read
    one or the other; ``error`` is OpenAI's form. ``Retry-After`` is whole seconds, at least 1.
    """
    status, code, headers = error.status, error.code, {}
    if isinstance(error, HttpError):
        status, code, headers = error.http_status, error.http_code, dict(error.headers)
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_ms / 1000)))
    body = {
        "message": error.message,
        "detail": error.message,
        "error": {"message": error.message, "type": code, "code": status},
        "request_id": request_id,
    }
    return json_response(body, status, headers | {"x-request-id": request_id})


def new_request_id() -> str:
    """Return an id that joins an answer and the log lines about it."""
    return f"rr-{secrets.token_hex(8)}"
