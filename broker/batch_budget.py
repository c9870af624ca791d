"""The size of a batch: about its target cost in padded tokens, never more than the worker takes, and few bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

#: Take the whole queue if it costs at most this many times the target: a second batch for the rest would hold less
#: than half of what makes a device work well.
_ROUND_UP = 1.5
#: Bytes of texts in a batch: far below ZeroMQ's limit on a frame, which would cut the worker's connection, and
#: little to copy. A single pair may be larger.
MAX_BATCH_BYTES = 8 << 20


@dataclass(slots=True)
class BatchBudget:
    """What a batch may still hold.

    Attributes:
        target: What it should cost, in padded tokens.
        most: What it may cost.
        spent: The cost of what it holds.
        size: Bytes of the texts in it.
    """

    target: float
    most: float
    spent: float = 0.0
    size: int = 0

    def extend_to_cover(self, costs: Iterable[float]) -> None:
        """Raise the target to the whole queue if that costs little more; ``costs`` is read no further than needed."""
        enough = self.target * _ROUND_UP
        total = 0.0
        for cost in costs:
            total += cost
            if total > enough:
                return
        self.target = max(self.target, total)

    def admits(self, cost: float, size: int) -> bool:
        """Return whether a pair goes in: the first always, and others if most of them is within the target.

        So batches cost the target on average, not half a pair less.
        """
        if not self.spent:
            return True
        return (
            self.spent + cost / 2 <= self.target
            and self.spent + cost <= self.most
            and self.size + size <= MAX_BATCH_BYTES
        )

    def add(self, cost: float, size: int) -> None:
        """Put a pair in."""
        self.spent += cost
        self.size += size
