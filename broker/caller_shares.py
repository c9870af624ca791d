"""Recent device use: each caller's tokens, with exponential decay."""

from collections.abc import Callable, Iterable
from heapq import nlargest

from ..protocol.status_messages import CallerStatus

#: Half-life of a token's weight, s.
HALF_LIFE_S = 60.0
#: Callers shown: those with the most tokens.
SHOWN = 10
#: Callers remembered: this many at least, twice as many at most.
_REMEMBERED = 256
#: The sums are scaled again when a new token weighs more than this, as a power of two, compared with the last time.
_LARGEST_WEIGHT = 64.0


class CallerShares:
    """Tokens of each caller, halved every ``HALF_LIFE_S``.

    Invariant: sums are kept in the weight of the time ``_since``. A later token is added with a weight that
    is larger by what the sums should have lost meanwhile, so that nothing is touched while nothing happens.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self._tokens: dict[str, float] = {}
        self._total = 0.0

    def note(self, amounts: Iterable[tuple[str, int]], now: float) -> None:
        """Count what the model read for each caller, tokens; 0 for one that only sent a request."""
        halvings = (now - self._since) / HALF_LIFE_S
        if halvings > _LARGEST_WEIGHT:
            self._scale(2.0**-halvings)
            self._since, halvings = now, 0.0
        weight = 2.0**halvings
        for caller, tokens in amounts:
            self._tokens[caller] = self._tokens.get(caller, 0.0) + tokens * weight
            self._total += tokens * weight
        if len(self._tokens) > 2 * _REMEMBERED:
            self._tokens = dict(nlargest(_REMEMBERED, self._tokens.items(), key=lambda item: item[1]))

    def report(self, now: float, waiting: Callable[[str], int]) -> list[CallerStatus]:
        """Return the callers with the most tokens lately, and who waits for the first.

        Args:
            now: The time, s.
            waiting: Returns how many pairs of a caller wait.
        """
        weight = 2.0 ** -((now - self._since) / HALF_LIFE_S)
        callers = (
            CallerStatus(name, round(tokens * weight), tokens / self._total if self._total else 0.0, waiting(name))
            for name, tokens in self._tokens.items()
        )
        seen = (caller for caller in callers if caller.tokens or caller.pairs)
        return nlargest(SHOWN, seen, key=lambda caller: (caller.share, caller.pairs))

    def _scale(self, factor: float) -> None:
        self._tokens = {caller: tokens * factor for caller, tokens in self._tokens.items() if tokens * factor >= 0.5}
        self._total = sum(self._tokens.values())
