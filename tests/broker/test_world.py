"""A million requests through random worlds of callers, workers, faults and time."""

import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino_reranker.tests.broker.world import World

WORLDS = 100
HAPPENINGS = {
    "scores",
    "overloaded",
    "deadline_exceeded",
    "unavailable",
    "failed",
    "deaths",
    "stuck",
    "revenants",
    "windowed",
    "cached",
    "batches",
}
REQUESTS_PER_WORLD = 10_000


def run_world(seed: int) -> Counter[str]:
    try:
        return World(seed, REQUESTS_PER_WORLD).run()
    except Exception as error:
        raise AssertionError(
            f"world {seed} broke a law; replay it with "
            f"'python -m openvino_reranker.tests.broker.world {seed} {REQUESTS_PER_WORLD}': {error!r}"
        ) from error


@pytest.mark.timeout(600)
def test_a_million_requests_keep_every_law() -> None:
    first = random.SystemRandom().randrange(1 << 30)
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for each in pool.map(run_world, range(first, first + WORLDS)):
            seen += each
    # The worlds must have been worth living in: everything that can happen has happened.
    for happening in (
        "scores",
        "overloaded",
        "deadline_exceeded",
        "unavailable",
        "failed",
        "deaths",
        "stuck",
        "revenants",
        "windowed",
        "cached",
        "batches",
    ):
        assert seen[happening] > 0, (happening, seen)
    assert seen["scores"] > WORLDS * REQUESTS_PER_WORLD / 4


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 200))
def test_small_worlds_keep_every_law(seed: int, requests: int) -> None:
    World(seed, requests).run()
