"""Which rows the device runs together. Lengths in, runs out; nothing else is looked at.

A run pads its rows to its longest, rounded up to a step, so it costs ``rows x length`` tokens, and a fixed
part for being a run at all. Rows sorted by length are cut into runs so that the sum is least (dynamic
programming over the cuts).
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: What a run costs beside its tokens, in tokens: measured on a CPU, 15 ms for 96 tokens where 10.5 ms a row
#: is the rate of larger runs.
RUN_OVERHEAD_TOKENS = 40
#: Run lengths are multiples of this: a CPU prepares its kernels anew for each shape it has not seen (about
#: half a run's time), so there should be few shapes; 8 tokens of padding in 128 cost less than that.
LENGTH_STEP = 8


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows (places in the list of lengths) that the device runs at once, padded to ``length`` tokens.

    A run is itself and no other: two batches may hold runs of the same rows and length.
    """

    rows: tuple[int, ...]
    length: int

    @property
    def padded_tokens(self) -> int:
        """Tokens the device computes."""
        return len(self.rows) * self.length


def pack(lengths: Sequence[int], run_tokens: int, max_length: int) -> list[Run]:
    """Cut rows into runs of at most ``run_tokens`` padded tokens (or one row), cheapest in all; longest first.

    Every row is in exactly one run.

    Args:
        lengths: Each row's tokens.
        run_tokens: The most padded tokens of a run.
        max_length: The longest run the model takes, tokens.
    """
    lengths = [min(max_length, -(-length // LENGTH_STEP) * LENGTH_STEP) for length in lengths]
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    # best[n]: the least cost of the first n rows of ``order``; start[n]: where the last run of that begins.
    best = [0.0] * (len(order) + 1)
    start = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        best[end] = float("inf")
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > run_tokens and end - begin > 1:
                break
            cost = best[begin] + padded + RUN_OVERHEAD_TOKENS
            if cost < best[end]:
                best[end], start[end] = cost, begin
    runs: list[Run] = []
    end = len(order)
    while end:
        begin = start[end]
        runs.append(Run(tuple(order[begin:end]), lengths[order[begin]]))
        end = begin
    runs.reverse()
    return runs
