"""Which rows the device runs together, and in which shapes. Lengths in, runs out; nothing else is looked at.

A CPU takes any shape ``(rows, length)``, but prepares its kernels anew for each one it has not seen (a third of a
run's time or more) and keeps them (3 MB a shape in int8). So only the shapes of a small menu are run, and each of them
can be visited before anybody waits for it. A run pads its rows to its shape's length, and with copies of its first
row to its shape's rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

#: What a run costs beside its tokens, in tokens: from 30 in f32 to 100 in int8, where a token costs a third.
RUN_OVERHEAD_TOKENS = 64
#: About the tokens of a full run: a CPU is at its full rate from 400 on, and longer runs of unlike rows pad more.
FULL_RUN_TOKENS = 640
#: The shortest row of a shape, tokens: less is hardly cheaper.
_SHORTEST = 32
#: Lengths of full runs per octave, but no nearer than 8 tokens: 4 % of padding in the mean.
_FINE = 8
#: Lengths of small runs per octave.
_COARSE = 4
#: Rows of small runs: for what is left over, and for a lone small request.
_FEW_ROWS = (1, 2)
_MOST_TOKENS_OF_FEW_ROWS = 512


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """What the device computes at once: ``rows`` of ``length`` tokens."""

    rows: int
    length: int

    @property
    def tokens(self) -> int:
        """Tokens the device computes, padding and all."""
        return self.rows * self.length


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows (places in the list of lengths) that the device runs at once, padded to ``length`` tokens.

    ``fillers`` rows more are computed for nothing, because no smaller shape is on the menu.
    A run is itself and no other: two batches may hold runs of the same rows and length.
    """

    rows: tuple[int, ...]
    length: int
    fillers: int = 0

    @property
    def shape(self) -> Shape:
        """What the device computes."""
        return Shape(len(self.rows) + self.fillers, self.length)

    @property
    def padded_tokens(self) -> int:
        """Tokens the device computes."""
        return self.shape.tokens


@lru_cache
def shape_menu(max_length: int) -> tuple[Shape, ...]:
    """Return every shape that is ever run, those with the most tokens first: 56 for a model of 512 tokens.

    Full runs come at finely stepped lengths, because most of a load runs in them; runs of one and two rows at coarser
    ones. There is a shape of one row for the longest row.
    """
    shapes = {Shape(max(1, round(FULL_RUN_TOKENS / length)), length) for length in _row_lengths(max_length, _FINE)}
    for length in _row_lengths(max_length, _COARSE):
        shapes |= {Shape(rows, length) for rows in _FEW_ROWS if rows * length <= _MOST_TOKENS_OF_FEW_ROWS}
    shapes.add(Shape(1, max_length))
    return tuple(sorted(shapes, key=lambda shape: (-shape.tokens, shape)))


def _row_lengths(max_length: int, per_octave: int) -> list[int]:
    """Return ``per_octave`` lengths between one and its double, at least 8 tokens apart; ``max_length`` is last."""
    lengths = []
    length = min(_SHORTEST, max_length)
    while length < max_length:
        lengths.append(length)
        octave = 1 << (length.bit_length() - 1)
        length += max(8, octave // per_octave)
    return [*lengths, max_length]


def pack(lengths: Sequence[int], max_length: int) -> list[Run]:
    """Cut rows into runs of the menu's shapes, cheapest in all; longest first.

    Rows sorted by length are cut so that the sum of what the runs cost is least (dynamic programming over the cuts).
    Every row is in exactly one run, and a run's first row is its longest.

    Args:
        lengths: Each row's tokens, at most ``max_length``.
        max_length: The longest row the model takes, tokens.

    Raises:
        ValueError: A row is longer than that.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    most_rows = max(shape.rows for shape in shape_menu(max_length))
    # least[n]: the least cost of the first n rows of ``order``; last[n]: the last run of that.
    least = [0] + [0] * len(order)
    last = [Run((), 0)] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        chosen: tuple[int, int, Shape] | None = None
        for begin in range(end - 1, max(-1, end - 1 - most_rows), -1):
            shape = _cheapest(end - begin, lengths[order[begin]], max_length)
            if shape is None:
                break  # a run with more or longer rows has no shape either
            cost = least[begin] + shape.tokens + RUN_OVERHEAD_TOKENS
            if chosen is None or cost < chosen[0]:
                chosen = cost, begin, shape
        if chosen is None:
            raise ValueError(f"a row of {lengths[order[end - 1]]} tokens is longer than the model takes: {max_length}")
        least[end], begin, shape = chosen
        last[end] = Run(tuple(order[begin:end]), shape.length, shape.rows - (end - begin))
    runs: list[Run] = []
    end = len(order)
    while end:
        runs.append(last[end])
        end -= len(last[end].rows)
    runs.reverse()
    return runs


@lru_cache(maxsize=16384)
def _cheapest(rows: int, length: int, max_length: int) -> Shape | None:
    """Return the shape with the fewest tokens that holds this many rows of this length."""
    holding = [shape for shape in shape_menu(max_length) if shape.rows >= rows and shape.length >= length]
    return min(holding, key=lambda shape: shape.tokens, default=None)
