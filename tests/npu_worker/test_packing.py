"""Packing rows into runs: nothing lost, bounds held, and no cheaper way."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.npu_worker.packing import LENGTH_STEP, RUN_OVERHEAD_TOKENS, pack

lengths = st.lists(st.integers(1, 512), max_size=40)


def rounded(length: int) -> int:
    return min(512, -(-length // LENGTH_STEP) * LENGTH_STEP)


@given(lengths, st.integers(64, 2048))
def test_every_row_is_in_one_run_that_holds_it(lengths: list[int], run_tokens: int) -> None:
    runs = pack(lengths, run_tokens, 512)
    assert sorted(row for run in runs for row in run.rows) == list(range(len(lengths)))
    for run in runs:
        assert run.length == max(rounded(lengths[row]) for row in run.rows) <= 512
        assert run.padded_tokens <= run_tokens or len(run.rows) == 1
    assert all(first.length >= second.length for first, second in pairwise(runs))


def cheapest(lengths: list[int], run_tokens: int) -> float:
    """Try every way to cut the sorted rows."""
    if not lengths:
        return 0
    best = float("inf")
    for rows in range(1, len(lengths) + 1):
        padded = lengths[0] * rows
        if rows == 1 or padded <= run_tokens:
            best = min(best, padded + RUN_OVERHEAD_TOKENS + cheapest(lengths[rows:], run_tokens))
    return best


@given(st.lists(st.integers(1, 512), max_size=9), st.integers(64, 2048))
def test_no_other_cut_is_cheaper(lengths: list[int], run_tokens: int) -> None:
    cost = sum(run.padded_tokens + RUN_OVERHEAD_TOKENS for run in pack(lengths, run_tokens, 512))
    assert cost == cheapest(sorted(map(rounded, lengths), reverse=True), run_tokens)


def test_like_lengths_share_a_run_and_unlike_ones_do_not() -> None:
    runs = pack([100, 20, 98, 500, 22], 1024, 512)
    assert [(run.rows, run.length) for run in runs] == [((3,), 504), ((0, 2), 104), ((1, 4), 24)] or [
        set(run.rows) for run in runs
    ] == [{3}, {0, 2}, {1, 4}]
