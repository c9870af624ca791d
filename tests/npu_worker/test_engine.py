"""Scores of the real model through the worker's own path: exact, whatever is beside a pair."""

import random
from pathlib import Path

import numpy as np
import pytest
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import DeviceUnavailable, ModelUnusable
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.worker_messages import Batch, BatchResult

QUERY = "How many people live in Berlin?"
POPULATION = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
MUSEUMS = "Berlin is well known for its museums."


@pytest.fixture(scope="module")
def engine(packaged: ReadyModel) -> Engine:
    return Engine.open(packaged.folder, "CPU", "f32")


def test_the_logits_of_the_card(engine: Engine) -> None:
    assert engine.score(QUERY, [POPULATION, MUSEUMS]).logits == pytest.approx([9.0859, -3.9330], abs=0.002)


def test_a_pairs_score_depends_on_the_pair_alone(engine: Engine) -> None:
    alone = engine.score(QUERY, [POPULATION]).logits[0]
    fillers = [f"Sentence {number} says little. " * number for number in (0, 1, 2, 5, 9, 14, 20, 24)]
    for seed in range(3):
        order = [POPULATION, MUSEUMS, *fillers]
        random.Random(seed).shuffle(order)
        result = engine.score(QUERY, order)
        assert result.logits[order.index(POPULATION)] == pytest.approx(alone, abs=1e-4)
    beside_other_queries = engine.run(
        Batch(1, [b"what?", QUERY.encode()], [(0, b"x " * 400), (1, POPULATION.encode()), (0, b"")])
    )
    assert beside_other_queries.logits[1] == pytest.approx(alone, abs=1e-4)


def test_a_result_tells_lengths_cuts_and_cost(engine: Engine) -> None:
    result = engine.score("q", ["w " * 600, "w " * 508, "w"])
    assert result.tokens == [512, 512, 5]
    assert result.truncated == [0]
    assert result.padded_tokens >= 512 + 512 + 5
    assert result.runs >= 2
    assert result.inference_ms > 0
    assert np.isfinite(result.logits).all()


def test_a_bad_query_spoils_only_its_own_pairs(engine: Engine) -> None:
    batch = Batch(1, [b"w " * 600, QUERY.encode()], [(0, b"x"), (1, POPULATION.encode()), (0, b"y")])
    result = engine.run(batch)
    assert [(error.position, error.code) for error in result.errors] == [(0, "invalid_request"), (2, "invalid_request")]
    assert result.logits[1] == pytest.approx(9.0859, abs=0.002)


def test_a_batch_of_nothing_but_bad_queries_is_answered(engine: Engine) -> None:
    result = engine.run(Batch(1, [b"w " * 600], [(0, b"x")]))
    assert isinstance(result, BatchResult)
    assert len(result.errors) == 1


def test_bf16_is_said_and_stays_near(packaged: ReadyModel) -> None:
    engine = Engine.open(packaged.folder, "CPU", "bf16")
    assert engine.device.precision in ("bf16", "f32")  # a CPU without bf16 computes in f32, and says so
    assert engine.score(QUERY, [POPULATION, MUSEUMS]).logits == pytest.approx([9.0859, -3.9330], abs=0.1)


def test_what_cannot_be_opened_says_why(packaged: ReadyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="openvino-reranker pull"):
        Engine.open(tmp_path, "CPU")
    with pytest.raises(DeviceUnavailable, match="GPU"):
        Engine.open(packaged.folder, "GPU")
