"""Whether this process, or the whole machine, was stopped for a while: the clock goes on meanwhile, and nothing else.

A loop that judges others by time must know it, or it takes its own absence for theirs.
"""

#: What took this much longer than intended was a standstill, s.
STANDSTILL_S = 2.0


class StandstillDetector:
    """Notices standstills from how long the turns of a loop take.

    Args:
        now: The time, s (monotonic).
    """

    def __init__(self, now: float) -> None:
        self._noted = now

    def note(self, now: float, waited: float = 0.0, allowed: float | None = None) -> bool:
        """Return whether there was a standstill since the last call.

        To be called after each wait of the loop, and with the time by which anybody is to be judged: a standstill may
        come while the loop works.

        Args:
            now: The time.
            waited: How long of it the loop has just waited for events, s.
            allowed: How long it was to wait at most, s; None for as long as nothing happens.
        """
        busy = now - self._noted - waited
        overslept = 0.0 if allowed is None else max(0.0, waited - allowed)
        self._noted = now
        return busy + overslept > STANDSTILL_S
