"""The menu of shapes and packing rows into them: nothing lost, nothing off the menu, little padding, no cheaper way."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.npu_worker.packing import RUN_OVERHEAD_TOKENS, Run, Shape, pack, shape_menu

lengths = st.lists(st.integers(1, 512), max_size=40)

#: Texts of real loads: lengths of pairs, tokens.
LOADS: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda chance: chance.uniform(8, 512),
    "short": lambda chance: chance.lognormvariate(4.55, 0.4),  # about 100 tokens
    "chunks": lambda chance: chance.lognormvariate(4.87, 0.6),  # about 150, some of them 500
    "long": lambda chance: chance.lognormvariate(5.97, 0.35),  # about 400
    "mixed": lambda chance: chance.lognormvariate(chance.choice((4.1, 4.9, 5.9)), 0.5),
}


@given(lengths, st.sampled_from([16, 64, 100, 256, 512]))
def test_every_row_is_in_one_run_that_holds_it_and_is_on_the_menu(lengths: list[int], max_length: int) -> None:
    lengths = [min(length, max_length) for length in lengths]
    runs = pack(lengths, max_length)
    assert sorted(row for run in runs for row in run.rows) == list(range(len(lengths)))
    menu = shape_menu(max_length)
    for run in runs:
        assert run.shape in menu
        assert run.shape == Shape(len(run.rows) + run.fillers, run.length)
        assert all(lengths[row] <= run.length for row in run.rows)
        assert lengths[run.rows[0]] == max(lengths[row] for row in run.rows)
    assert all(lengths[first.rows[-1]] >= lengths[second.rows[0]] for first, second in pairwise(runs))


def cheapest(lengths: list[int], menu: tuple[Shape, ...]) -> float:
    """Try every way to cut the sorted rows, in every shape."""
    if not lengths:
        return 0
    costs = []
    for rows in range(1, len(lengths) + 1):
        holding = [shape.tokens for shape in menu if shape.rows >= rows and shape.length >= lengths[0]]
        if holding:
            costs.append(min(holding) + RUN_OVERHEAD_TOKENS + cheapest(lengths[rows:], menu))
    return min(costs)


@given(st.lists(st.integers(1, 128), max_size=8))
def test_no_other_cut_is_cheaper(lengths: list[int]) -> None:
    cost = sum(run.padded_tokens + RUN_OVERHEAD_TOKENS for run in pack(lengths, 128))
    assert cost == cheapest(sorted(lengths, reverse=True), shape_menu(128))


def test_like_lengths_share_a_run_and_unlike_ones_do_not() -> None:
    runs = pack([100, 20, 98, 500, 22], 512)
    assert [(set(run.rows), run.shape) for run in runs] == [
        ({3}, Shape(1, 512)),
        ({0, 2}, Shape(2, 112)),
        ({1, 4}, Shape(2, 32)),
    ]


def test_a_row_longer_than_the_model_takes_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="129"):
        pack([129], 128)


@pytest.mark.parametrize("load", LOADS)
def test_where_enough_waits_little_is_padding_and_runs_are_long(load: str) -> None:
    chance = random.Random(load)
    real = padded = runs = 0
    for _ in range(8):
        batch: list[int] = []
        while sum(batch) < 15_000:
            batch.append(min(512, max(8, round(LOADS[load](chance)))))
        packed = pack(batch, 512)
        real += sum(batch)
        padded += sum(run.padded_tokens for run in packed)
        runs += len(packed)
    assert padded <= 1.08 * real
    assert padded / runs >= 384


@pytest.mark.parametrize("load", LOADS)
def test_a_small_request_costs_no_more_than_a_quarter_more(load: str) -> None:
    chance = random.Random(load)
    real = padded = 0
    for _ in range(40):
        batch = [min(512, max(8, round(LOADS[load](chance)))) for _ in range(5)]
        real += sum(batch)
        padded += sum(run.padded_tokens for run in pack(batch, 512))
    assert padded <= 1.25 * real


@pytest.mark.parametrize("max_length", [8, 16, 64, 256, 512, 514, 8192])
def test_the_menu_is_small_and_holds_the_longest_row(max_length: int) -> None:
    menu = shape_menu(max_length)
    assert len(menu) <= 60 + 8 * max(0, (max_length // 512).bit_length() - 1)
    assert len(set(menu)) == len(menu)
    assert Shape(1, max_length) in menu
    assert all(shape.length <= max_length for shape in menu)
    assert all(shape.tokens <= max(1024, max_length) for shape in menu)
    assert list(menu) == sorted(menu, key=lambda shape: -shape.tokens)


def test_a_run_is_itself_and_no_other() -> None:
    assert Run((0,), 32) != Run((0,), 32)
