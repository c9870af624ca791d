"""Which static shape each row runs in. Lengths in, runs out; nothing else matters.

An NPU runs compiled shapes only, and a batch of several rows is as many jobs on it as rows. So a run is one row
in the smallest bucket that holds it: there are no filler rows, and the rows keep their turns.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from ...protocol.worker_messages import Bucket
from ..packing import Run

#: Tokens of the shapes that are compiled unless others are asked for.
DEFAULT_BUCKETS = (64, 96, 128, 192, 256, 384, 512)
#: The longest usable bucket may be no shorter, tokens: 29 are left for the query then, and 32 for a passage.
LEAST_LONGEST = 64
#: A row's work is ``24 x width^2`` a token and layer for the dense parts and ``4 x width x length`` for attention, so
#: attention adds ``length / (6 x width)``; cross-encoders of this size are 384 wide.
_ATTENTION_TOKENS = 6 * 384


def clip(wanted: Iterable[int], max_length: int) -> tuple[int, ...]:
    """Return the buckets a model can have, shortest first; the last holds its longest row.

    Args:
        wanted: Tokens of the buckets asked for, in any order.
        max_length: The longest row the model takes, tokens.
    """
    return (*sorted({length for length in wanted if 0 < length < max_length}), max_length)


def place(length: int, buckets: Sequence[int]) -> int:
    """Return the smallest of the sorted buckets that holds a row.

    Raises:
        ValueError: None does.
    """
    index = bisect_left(buckets, length)
    if index == len(buckets):
        raise ValueError(f"a row of {length} tokens fits no bucket of {tuple(buckets)}")
    return buckets[index]


def plan(lengths: Sequence[int], buckets: Sequence[int]) -> list[Run]:
    """Return a run for each row, in the rows' order.

    Args:
        lengths: Each row's tokens.
        buckets: Tokens of the shapes that are ready, sorted.

    Raises:
        ValueError: A row fits none.
    """
    return [Run((row,), place(length, buckets)) for row, length in enumerate(lengths)]


def cost(length: int) -> float:
    """Return what a row of a bucket costs the device, in tokens of a short row."""
    return round(length * (1 + length / _ATTENTION_TOKENS), 1)


def with_costs(buckets: Iterable[int]) -> list[Bucket]:
    """Return the buckets as the broker wants them."""
    return [Bucket(length, cost(length)) for length in buckets]
