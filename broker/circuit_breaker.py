"""Circuit breaker: after three consecutive worker losses without a finished batch, refuse new requests for 30 s."""

#: After this many losses in a row new requests are refused ...
LOSSES_BEFORE_REFUSING = 3
#: ... for this long, s.
REFUSE_S = 30.0


class CircuitBreaker:
    """How often in a row the worker was lost, and why the last time."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last = 0.0
        self._reason = ""

    def note_loss(self, reason: str, now: float) -> None:
        """Count the loss of a worker that held a batch."""
        self._in_a_row += 1
        self._last = now
        self._reason = reason

    def note_success(self) -> None:
        """Close: a batch was finished."""
        self._in_a_row = 0

    def refusing(self, now: float) -> str | None:
        """Return why new requests are refused now, or None if they are not."""
        if self._in_a_row < LOSSES_BEFORE_REFUSING or now >= self._last + REFUSE_S:
            return None
        return (
            f"the worker was lost {self._in_a_row} times in a row without finishing a batch "
            f"(last: {self._reason}); see its log"
        )

    def retry_after_ms(self, now: float) -> int:
        """Return when to retry, ms from now; at least 1000."""
        return max(1000, round((self._last + REFUSE_S - now) * 1000))
