import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.npu_worker.npu.bucket_plan import DEFAULT_BUCKETS, clip, cost, place, plan, with_costs

BUCKETS = st.lists(st.integers(16, 600), min_size=1, max_size=8, unique=True).map(sorted)


@given(BUCKETS, st.data())
def test_every_row_is_in_exactly_one_run_in_its_turn(buckets: list[int], data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, buckets[-1]), max_size=60))
    assert [run.rows for run in plan(lengths, buckets)] == [(row,) for row in range(len(lengths))]


@given(BUCKETS, st.data())
def test_a_row_has_the_smallest_bucket_that_holds_it(buckets: list[int], data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, buckets[-1]), min_size=1, max_size=60))
    for length, run in zip(lengths, plan(lengths, buckets), strict=True):
        assert run.length in buckets
        assert run.length >= length
        assert all(smaller < length for smaller in buckets if smaller < run.length)


@given(BUCKETS)
def test_the_edges(buckets: list[int]) -> None:
    for smaller, bucket in zip([0, *buckets], buckets, strict=False):
        assert place(bucket, buckets) == bucket
        assert place(smaller + 1, buckets) == bucket
    with pytest.raises(ValueError, match="fits no bucket"):
        place(buckets[-1] + 1, buckets)


@given(st.lists(st.integers(-5, 1000)), st.integers(16, 600))
def test_clipped_buckets_are_sorted_and_end_with_the_longest_row(wanted: list[int], longest: int) -> None:
    clipped = clip(wanted, longest)
    assert list(clipped) == sorted(set(clipped))
    assert clipped[-1] == longest
    assert set(clipped) - {longest} == {length for length in wanted if 0 < length < longest}


def test_the_defaults_suit_a_model_of_512_and_a_shorter_one() -> None:
    assert clip(DEFAULT_BUCKETS, 512) == DEFAULT_BUCKETS
    assert clip(DEFAULT_BUCKETS, 300) == (64, 96, 128, 192, 256, 300)


def test_a_longer_row_costs_more_than_its_tokens() -> None:
    assert cost(64) < cost(512) / 8
    assert [bucket.tokens for bucket in with_costs((64, 96))] == [64, 96]


def test_padding_of_a_mixed_load_is_under_15_percent_of_what_runs() -> None:
    # Half passages as retrieval gives them (most of 110 to 370 tokens), half of any length.
    dice = random.Random(1)
    lengths = [min(512, max(16, round(dice.lognormvariate(5.3, 0.6)))) for _ in range(3000)]
    lengths += [dice.randint(20, 512) for _ in range(3000)]
    run = sum(run.padded_tokens for run in plan(lengths, DEFAULT_BUCKETS))
    assert 1 - sum(lengths) / run < 0.15
