"""The arguments that all rerankers have: what they may be, and how long a call may take."""

from ..protocol.errors import InvalidArgument
from ..protocol.limits import DEFAULT_LIMITS, MAX_WINDOW_STRIDE
from ..protocol.message import REQUEST_CLASSES, RequestClass

#: How much longer than the deadline to wait for the broker's own, more detailed answer, s.
GRACE_S = 1.0
#: The message when even that time has passed.
TIMED_OUT = "timed out after {:.1f} s; the broker did not respond"


def check_top_k(top_k: int | None) -> None:
    """Raise ``InvalidArgument`` for a negative ``top_k``."""
    if top_k is not None and top_k < 0:
        raise InvalidArgument(f"top_k is {top_k}; it must be 0 (all) or more")


def check_windows(max_windows: int | None, window_stride: int | None) -> None:
    """Raise ``InvalidArgument`` for windows out of bounds; names the bound."""
    if max_windows is not None and not 1 <= max_windows <= DEFAULT_LIMITS.windows:
        raise InvalidArgument(f"max_windows is {max_windows}; it must be 1 to {DEFAULT_LIMITS.windows}")
    if window_stride is not None and not 1 <= window_stride <= MAX_WINDOW_STRIDE:
        raise InvalidArgument(f"window_stride is {window_stride}; it must be 1 to {MAX_WINDOW_STRIDE} tokens")


def check_priority(priority: str) -> RequestClass:
    """Return ``priority`` if it is one.

    Raises:
        InvalidArgument: It is not; the message names the choices.
    """
    for choice in REQUEST_CLASSES:
        if priority == choice:
            return choice
    raise InvalidArgument(f"priority is {priority!r}; it must be {' or '.join(REQUEST_CLASSES)}")


def deadline_ms(timeout: float) -> int:
    """Turn seconds into the wire's milliseconds, within what the broker allows.

    Raises:
        InvalidArgument: Not a positive number.
    """
    if not timeout > 0:
        raise InvalidArgument(f"timeout is {timeout}; it must be more than 0 seconds")
    return max(1, int(min(timeout * 1000, DEFAULT_LIMITS.max_deadline_ms)))
