"""Errors as HTTP answers, in the form each dialect's clients read."""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from ..protocol.errors import InvalidRequest, RerankError, TooLarge


class HttpError(RerankError):
    """An error of HTTP itself: no such path, wrong method, a host or origin that is not allowed.

    Attributes:
        headers: Headers the answer must carry (``Allow`` with 405).
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.http_code = code
        self.headers = headers or {}


class NoDocuments(InvalidRequest):
    """The list of documents is there and empty."""


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How a dialect words an error.

    Attributes:
        body: Makes the JSON of an error, its code, the answer's status and id.
        invalid_status: The status of a request that is wrong.
    """

    body: Callable[[RerankError, str, int, str], dict[str, Any]]
    invalid_status: int = 400


def _plain_body(error: RerankError, code: str, status: int, request_id: str) -> dict[str, Any]:
    """``message`` and ``detail`` are plain strings, of which each client reads one; ``error`` is OpenAI's form."""
    return {
        "message": error.message,
        "detail": error.message,
        "error": {"message": error.message, "type": code, "code": status},
        "request_id": request_id,
    }


#: Errors that text-embeddings-inference has a name for.
_TEI_TYPES = {
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
    "invalid_request": "Validation",
    "too_large": "Validation",
}


def _tei_body(error: RerankError, code: str, _status: int, request_id: str) -> dict[str, Any]:
    """Text-embeddings-inference's form, whose ``error`` is a string; Weaviate's client reads that too."""
    kind = "Empty" if isinstance(error, NoDocuments) else _TEI_TYPES.get(code, "Backend")
    return {"error": error.message, "error_type": kind, "request_id": request_id}


#: Most clients': Cohere's, Jina's, Voyage's, Infinity's, OpenAI's.
PLAIN_ERRORS = ErrorForm(_plain_body)
#: Text-embeddings-inference's: a request that is wrong is 422, an empty one 400.
TEI_ERRORS = ErrorForm(_tei_body, invalid_status=422)
#: Weaviate's.
STRING_ERRORS = ErrorForm(_tei_body)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``body`` as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def error_response(error: RerankError, request_id: str, form: ErrorForm = PLAIN_ERRORS) -> Response:
    """Return the answer for an error. ``Retry-After`` is whole seconds, at least 1."""
    status, code, headers = error.status, error.code, {}
    if isinstance(error, HttpError):
        status, code, headers = error.http_status, error.http_code, dict(error.headers)
    elif isinstance(error, InvalidRequest) and not isinstance(error, TooLarge | NoDocuments):
        status = form.invalid_status
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_ms / 1000)))
    body = form.body(error, code, status, request_id)
    return json_response(body, status, headers | {"x-request-id": request_id})


def new_request_id() -> str:
    """Return an id that joins an answer and the log lines about it."""
    return f"rr-{secrets.token_hex(8)}"
