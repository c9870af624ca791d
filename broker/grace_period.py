"""Whether the broker may apply timeouts: not right after a standstill of its own.

While the broker or the whole machine was stopped, the clock went on but no message could be read. A healthy worker
sends one at least once a second, so it is heard from soon after. Until then no deadline is applied, and a worker's
silence is counted anew (``Broker.resume``).
"""

#: How long no timeout is applied after a standstill, s: longer than a worker is ever silent.
GRACE_PERIOD_S = 1.5


class GracePeriod:
    """Puts timeouts off after a standstill."""

    def __init__(self, now: float) -> None:
        self._until = now

    def begin(self, now: float) -> None:
        """Note that a standstill has just ended."""
        self._until = now + GRACE_PERIOD_S

    def earliest(self, due: float) -> float:
        """Return when something that is due at ``due`` may be done."""
        return max(due, self._until)

    def over(self, now: float) -> bool:
        """Return whether timeouts may be applied by ``now``."""
        return now >= self._until
