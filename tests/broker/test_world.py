"""Requests by the ten thousand through random worlds of callers, workers, faults and time; ``make soak``: a million."""

import functools
import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino_reranker.tests.broker.world import HAPPENINGS, World, run_world

WORLDS = 60
REQUESTS_PER_WORLD = 1000


@pytest.mark.timeout(300)
def test_many_requests_keep_every_law() -> None:
    first = random.SystemRandom().randrange(1 << 30)
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for each in pool.map(functools.partial(run_world, REQUESTS_PER_WORLD), range(first, first + WORLDS)):
            seen += each
    # The worlds must have been worth living in: everything that can happen has happened.
    assert set(seen) >= HAPPENINGS
    assert seen["scores"] > WORLDS * REQUESTS_PER_WORLD / 4


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 200))
def test_small_worlds_keep_every_law(seed: int, requests: int) -> None:
    World(seed, requests).run()
