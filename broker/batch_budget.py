"""How much a batch holds, in padded tokens: about what is wanted of it, and never more than the worker takes."""

from collections.abc import Iterable
from dataclasses import dataclass

#: What waits goes in one batch as long as that is no larger than so many wanted ones: a second batch for the
#: rest would hold less than half of what makes a device work well.
_ROUND_UP = 1.5


@dataclass(slots=True)
class BatchBudget:
    """The room of one batch.

    Attributes:
        wanted: What it should cost, in padded tokens.
        most: What it may cost.
        spent: What is in it costs.
    """

    wanted: float
    most: float
    spent: float = 0.0

    def widen_for(self, prices: Iterable[float]) -> None:
        """Want all that waits, if that is little more than is wanted anyhow; ``prices`` is read no further."""
        enough = self.wanted * _ROUND_UP
        total = 0.0
        for price in prices:
            total += price
            if total > enough:
                return
        self.wanted = max(self.wanted, total)

    def takes(self, price: float) -> bool:
        """Return whether a pair goes in: the first always, and others if most of them is within what is wanted.

        So batches cost what is wanted in the mean, not half a pair less.
        """
        return not self.spent or (self.spent + price / 2 <= self.wanted and self.spent + price <= self.most)

    def take(self, price: float) -> None:
        """Put a pair in."""
        self.spent += price
