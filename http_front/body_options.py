"""A rerank request's options, each read out of its JSON as programs write them.

All of them raise ``InvalidRequest``, which names the option and what it may be.
"""

from msgspec import Raw, UnsetType

from ..protocol.errors import InvalidRequest
from ..protocol.message import REQUEST_CLASSES, RequestClass
from .raw_json import given, option

#: Bytes kept of a model's name that is not a short string, for the message that refuses it.
_SHOWN_BYTES = 100


def top_k(named_k: Raw | UnsetType, named_n: Raw | UnsetType) -> int | None:
    """Return ``top_k`` or its other name ``top_n``; None for all."""
    both = {"top_k": option(named_k), "top_n": option(named_n)}
    counts = {name: value for name, value in both.items() if value is not None}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(f"{name} must be a whole number")
        if value < 0:
            raise InvalidRequest(f"{name} is {value}; it must be 0 (all) or more")
    if len(set(counts.values())) > 1:
        raise InvalidRequest(f"top_k is {counts['top_k']} and top_n is {counts['top_n']}: give one, or the same")
    return next(iter(counts.values()), 0) or None


def priority(raw: Raw | UnsetType) -> RequestClass | None:
    """Return the class a request asks for; Cohere's whole numbers, 0 the most urgent, count as well."""
    value = option(raw)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return "bulk" if value else "interactive"
    for choice in REQUEST_CLASSES:
        if value == choice:
            return choice
    raise InvalidRequest(f"priority must be {' or '.join(map(repr, REQUEST_CLASSES))}")


def whole_number(raw: Raw | UnsetType, name: str, most: int) -> int | None:
    """Return a whole number from 1 to ``most``, or None where it is not given."""
    value = option(raw)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number")
    if not 1 <= value <= most:
        raise InvalidRequest(f"{name} is {value}; it must be 1 to {most}")
    return value


def number(raw: Raw | UnsetType, name: str) -> float | None:
    """Return a number, or None where it is not given."""
    value = option(raw)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{name} must be a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"{name} is too large a number") from None


def flag(raw: Raw | UnsetType, name: str) -> bool | None:
    """Return true or false, also written as a string; None where it is not given."""
    value = option(raw)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidRequest(f"{name} must be true or false")


def model_name(raw: Raw | UnsetType) -> str | None:
    """Return the model that is named, if any; what is not a string is named by its JSON, which no model is called."""
    named = given(raw)
    if named is None:
        return None
    value = option(raw)
    return value if isinstance(value, str) else bytes(memoryview(named)[:_SHOWN_BYTES]).decode("utf-8", "replace")
