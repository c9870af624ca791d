"""The body of a rerank request, as many programs write it, read into one form."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from ..client.encoding import encode_documents, encode_query
from ..client.sync import MAX_STRIDE
from ..protocol.errors import InvalidRequest
from ..protocol.limits import Limits
from ..protocol.messages import REQUEST_CLASSES, RequestClass


@dataclass(frozen=True, slots=True)
class RerankBody:
    """What a rerank request asks for; texts as UTF-8."""

    query: bytes
    texts: list[bytes]
    ids: list[str | None]
    top_k: int | None
    return_documents: bool
    priority: RequestClass | None
    max_windows: int | None
    window_stride: int | None


def read_rerank_body(raw: bytes, limits: Limits) -> RerankBody:
    """Read a body; keys it does not know are ignored, whatever the content type says.

    Raises:
        InvalidRequest: Says what is wrong and where.
        TooLarge: Names the bound.
    """
    body = _read_json(raw)
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object with 'query' and 'documents'")
    for key in ("query", "documents"):
        if body.get(key) is None:
            raise InvalidRequest(f"'{key}' is missing")
    query = encode_query(body["query"], limits)
    texts, ids = encode_documents(body["documents"], limits)
    return RerankBody(
        query,
        texts,
        ids,
        _top_k(body),
        _flag(body, "return_documents"),
        _priority(body),
        _within(body, "max_windows", limits.windows),
        _within(body, "window_stride", MAX_STRIDE),
    )


def _read_json(raw: bytes) -> Any:
    if not raw:
        raise InvalidRequest("the body is empty; it must be a JSON object with 'query' and 'documents'")
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not valid UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except msgspec.MsgspecError as error:
        if _has_lone_surrogate(raw):
            raise InvalidRequest(
                "the JSON holds half a surrogate pair (\\ud800 to \\udfff), which is no character"
            ) from None
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None


def _has_lone_surrogate(raw: bytes) -> bool:
    """Tell JSON that is wrong only in its surrogates (the standard library reads those) from other wrongs."""
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return b"\\ud" in raw.lower()


def _top_k(body: dict[str, Any]) -> int | None:
    """Return ``top_k`` or its other name ``top_n``; None for all."""
    given = {name: body[name] for name in ("top_k", "top_n") if body.get(name) is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(f"{name} must be a whole number")
        if value < 0:
            raise InvalidRequest(f"{name} is {value}; it must be 0 (all) or more")
    if len(set(given.values())) > 1:
        raise InvalidRequest(f"top_k is {given['top_k']} and top_n is {given['top_n']}: give one, or the same")
    return next(iter(given.values()), 0) or None


def _priority(body: dict[str, Any]) -> RequestClass | None:
    """Return the class a request asks for; Cohere's whole numbers, 0 the most urgent, count as well."""
    value = body.get("priority")
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return "bulk" if value else "interactive"
    for choice in REQUEST_CLASSES:
        if value == choice:
            return choice
    raise InvalidRequest(f"priority must be {' or '.join(map(repr, REQUEST_CLASSES))}")


def _within(body: dict[str, Any], name: str, most: int) -> int | None:
    """Return a whole number from 1 to ``most``, or None where it is not given."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number")
    if not 1 <= value <= most:
        raise InvalidRequest(f"{name} is {value}; it must be 1 to {most}")
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidRequest(f"{name} must be true or false")
