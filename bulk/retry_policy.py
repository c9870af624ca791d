"""How long a bulk job waits for a service that cannot answer now. Time is a parameter, s."""

from ..protocol.errors import Overloaded, ServiceError

#: How long nothing at all may be answered before a job gives up: longer than an NPU's first start.
GIVE_UP_S = 900.0
#: Pauses before a service that is away is asked again: the first, and the longest.
_FIRST_S, _LONGEST_S = 0.5, 10.0
#: The pause where a full queue does not name one, and the longest that is believed.
_OVERLOADED_S, _MOST_S = 1.0, 60.0


class RetryPolicy:
    """Decides after each error whether a row is sent again, and when."""

    def __init__(self, now: float, give_up_s: float = GIVE_UP_S) -> None:
        self._heard = now
        self._give_up_s = give_up_s

    def heard(self, now: float) -> None:
        """Note that the service answered."""
        self._heard = now

    def pause_s(self, error: ServiceError, attempt: int, now: float) -> float | None:
        """Return how long to wait before the row is sent again, or None to give up.

        Args:
            error: What the service said.
            attempt: How often the row was sent before, from 0.
            now: The time.
        """
        named_s = None if error.retry_after_ms is None else min(error.retry_after_ms / 1000, _MOST_S)
        if isinstance(error, Overloaded):  # it works, and says when
            self._heard = now
            return _OVERLOADED_S if named_s is None else named_s
        if now - self._heard >= self._give_up_s:
            return None
        return min(_FIRST_S * 2 ** min(attempt, 10), _LONGEST_S) if named_s is None else named_s
