"""Whether the broker may apply timeouts to others: not right after a stall of its own.

While the broker or the whole machine was stopped, the clock went on but no message could be read. A healthy worker
sends one at least once a second, so it is heard from soon after. Until then no deadline is applied, and a worker's
silence is counted anew (``Broker.resume``).
"""

#: A turn of the loop that waited this much longer than intended was a stall, s.
STANDSTILL_S = 2.0
#: How long no timeout is applied after one, s: longer than a worker is ever silent.
PATIENCE_S = 1.5


class Patience:
    """Detect stalls of the loop itself."""

    def __init__(self, now: float) -> None:
        self._turned = now
        self._until = now

    def note_turn(self, now: float, waited: float, allowed: float | None) -> bool:
        """Note that a turn of the loop begins, and return whether it comes after a stall.

        Args:
            now: When (s, monotonic).
            waited: How long the loop has just waited for events, s.
            allowed: How long it was to wait at most, s; None for as long as nothing happens.
        """
        busy = now - self._turned - waited
        overslept = 0.0 if allowed is None else max(0.0, waited - allowed)
        stood_still = busy + overslept > STANDSTILL_S
        if stood_still:
            self._until = now + PATIENCE_S
        self._turned = now
        return stood_still

    def judges_from(self, due: float) -> float:
        """Return when something that is due at ``due`` may be done."""
        return max(due, self._until)

    def judges(self, now: float) -> bool:
        """Return whether timeouts may be applied by ``now``."""
        return now >= self._until
