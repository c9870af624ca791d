"""Whether the broker may judge others by the clock: not right after it stood still itself.

Where the broker was stopped, or the whole machine was, the clock ran on while nobody could be heard. A worker speaks
at least once a second, so one that is well is heard soon after; until then its silence says nothing of it.
"""

#: A turn of the loop that took so much longer than it was to wait was a standstill, s.
STANDSTILL_S = 2.0
#: How long nobody is judged after one, s: longer than a worker is ever silent.
PATIENCE_S = 1.5


class Patience:
    """Notes the loop's own standstills."""

    def __init__(self, now: float) -> None:
        self._turned = now
        self._until = now

    def note_turn(self, now: float, waited: float, allowed: float | None) -> None:
        """Note that a turn of the loop begins.

        Args:
            now: When (s, monotonic).
            waited: How long the loop has just waited for events, s.
            allowed: How long it was to wait at most, s; None for as long as nothing happens.
        """
        busy = now - self._turned - waited
        overslept = 0.0 if allowed is None else max(0.0, waited - allowed)
        if busy + overslept > STANDSTILL_S:
            self._until = now + PATIENCE_S
        self._turned = now

    def judges_from(self, due: float) -> float:
        """Return when something that is due at ``due`` may be done."""
        return max(due, self._until)

    def judges(self, now: float) -> bool:
        """Return whether anybody may be judged by ``now``."""
        return now >= self._until
