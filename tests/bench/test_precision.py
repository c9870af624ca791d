"""The default precision ranks as well as fp32 does, on the judged sample, with the packaged model.

fp32's logits are recorded, so that the tests pay for one run over the sample and not for two. They were made with
the packaged model's fp16 weights (the exact ones) and f32 arithmetic; a part of them is computed anew here.
"""

import json
from pathlib import Path

import pytest
from openvino_reranker.bench.in_process import measure, score
from openvino_reranker.bench.judged import JudgedQuery, read_judged
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import ROOT

#: How much of nDCG@10 a default may cost.
TOLERANCE = 0.005
RECORD = Path(__file__).with_name("fp32_logits.json")


@pytest.fixture(scope="module")
def sample() -> list[JudgedQuery]:
    with (ROOT / "examples" / "python_docs" / "judged.jsonl").open("rb") as file:
        return read_judged(file)


@pytest.fixture(scope="module")
def fp32(sample: list[JudgedQuery]) -> list[list[float]]:
    """The recorded logits, by query."""
    recorded: dict[str, list[float]] = json.loads(RECORD.read_text())
    return [recorded[query.qid] for query in sample]


def test_the_record_is_what_fp32_gives(
    packaged: ReadyModel, sample: list[JudgedQuery], fp32: list[list[float]]
) -> None:
    engine = Engine.open(packaged.folder, "CPU", "f32")
    some = slice(None, None, 24)
    for recorded, computed in zip(fp32[some], score(engine, sample[some]), strict=True):
        assert computed == pytest.approx(recorded, abs=1e-3)


def test_the_second_stage_is_worth_its_time(sample: list[JudgedQuery], fp32: list[list[float]]) -> None:
    first = measure(sample, [[-place for place in range(len(query.ids))] for query in sample])
    second = measure(sample, fp32)
    assert second.ndcg > first.ndcg + 0.15
    assert second.mrr > first.mrr + 0.15
    assert second.recall > first.recall + 0.03


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_int8_ranks_as_well_as_fp32(
    packaged_int8: ReadyModel, sample: list[JudgedQuery], fp32: list[list[float]], step: int
) -> None:
    engine = Engine.open(packaged_int8.folder, "CPU", "auto")
    some = sample[::step]
    int8 = measure(some, list(score(engine, some)))
    assert int8.ndcg > measure(some, fp32[::step]).ndcg - TOLERANCE
