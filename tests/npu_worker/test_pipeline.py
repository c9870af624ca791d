"""Jobs through a device that does what the test tells it."""

from collections.abc import Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.npu_worker.device import Finished
from openvino_reranker.npu_worker.job import Job
from openvino_reranker.npu_worker.packing import Run
from openvino_reranker.npu_worker.pipeline import LEAD_MS, MOST_JOBS, MOST_WAITING_JOBS, SHAPE_WAIT_S, Pipeline
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.protocol.messages import Batch, BatchResult


class Tokenizer:
    """A token per character."""

    def encode(self, query: str, passages: Sequence[str]) -> list[Row]:
        return [Row([1] * len(passage), [0] * len(passage), False) for passage in passages]


class Device:
    """Runs ``lanes`` runs of one row side by side; lengths in ``missing`` have no shape yet."""

    def __init__(self, lanes: int = 1, missing: Sequence[int] = ()) -> None:
        self.lanes = lanes
        self.missing = set(missing)
        self.running: list[Run] = []
        self.ended: list[Finished] = []

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        return [Run((place,), length) for place, length in enumerate(lengths)]

    def start(self, run: Run, rows: Sequence[Row], wake: object) -> bool:
        if run.length in self.missing or len(self.running) >= self.lanes:
            return False
        self.running.append(run)
        return True

    def end(self, run: Run, when: float) -> None:
        self.running.remove(run)
        self.ended.append(Finished(run, [1.0], when))

    def collect(self) -> list[Finished]:
        ended, self.ended = self.ended, []
        return ended

    def waits(self, run: Run) -> bool:
        return run.length in self.missing

    def progress(self) -> str:
        return "compiling 1/2"


def make(device: Device) -> Pipeline:
    return Pipeline(device, lambda: None)  # type: ignore[arg-type]


def job(device: Device, *lengths: int, number: int = 0) -> Job:
    pairs = [(0, b"x" * length) for length in lengths]
    return Job(Batch(number, [b"q"], pairs), cast("PairTokenizer", Tokenizer()), device)  # type: ignore[arg-type]


@given(st.integers(1, 6), st.floats(0.0, 0.001))
def test_the_rate_is_right_although_runs_end_side_by_side(lanes: int, apart: float) -> None:
    device = Device(lanes)
    pipeline = make(device)
    now = estimate = 0.0
    for number in range(5):
        pipeline.add(job(device, *[100] * 12, number=number), now)
        estimate = pipeline.free_in_ms(now)
        while device.running:  # all lanes end nearly together, 10 ms after they began together
            now += 0.010
            for place, run in enumerate(list(device.running)):
                device.end(run, now + place * apart / lanes)
            pipeline.advance(now + apart)
    assert 120 / lanes / 2 <= estimate <= 120 / lanes * 2


def test_few_batches_are_held_whatever_the_rate_is_thought_to_be() -> None:
    device = Device()
    pipeline = make(device)
    for number in range(MOST_JOBS):
        assert pipeline.free_in_ms(0.0) <= LEAD_MS
        pipeline.add(job(device, 5, number=number), 0.0)
    assert pipeline.free_in_ms(0.0) > 1e9


def test_batches_that_only_wait_for_a_shape_do_not_keep_others_out() -> None:
    device = Device(missing=[64])
    pipeline = make(device)
    for number in range(MOST_WAITING_JOBS - 1):
        pipeline.add(job(device, 64, number=number), 0.0)
        assert pipeline.free_in_ms(0.0) == 0
    pipeline.add(job(device, 64), 0.0)
    assert pipeline.free_in_ms(0.0) > 1e9


def test_a_pair_waits_for_its_shape_only_so_long() -> None:
    device = Device(missing=[64])
    pipeline = make(device)
    pipeline.add(job(device, 64, 5), 0.0)
    device.end(device.running[0], 1.0)
    assert pipeline.advance(SHAPE_WAIT_S) == []
    [done] = pipeline.advance(SHAPE_WAIT_S + 0.1)
    answer = done.answer(None)
    assert isinstance(answer, BatchResult)
    assert [(error.position, error.code) for error in answer.errors] == [(0, "unavailable")]
    assert "pairs of 64 tokens cannot be run yet (compiling 1/2)" in answer.errors[0].message
    assert (answer.logits[1], answer.padded_tokens, answer.runs) == (1.0, 5, 1)
    assert done.worked


def test_a_batch_of_which_nothing_could_be_run_did_not_work() -> None:
    device = Device(missing=[64])
    pipeline = make(device)
    pipeline.add(job(device, 64, 64), 0.0)
    [done] = pipeline.advance(SHAPE_WAIT_S + 0.1)
    assert not done.worked
    assert pipeline.idle


def test_a_shape_that_comes_in_time_is_used() -> None:
    device = Device(missing=[64])
    pipeline = make(device)
    pipeline.add(job(device, 64), 0.0)
    device.missing.clear()
    pipeline.advance(SHAPE_WAIT_S - 0.1)
    device.end(device.running[0], SHAPE_WAIT_S + 5)
    [done] = pipeline.advance(SHAPE_WAIT_S + 5)
    answer = done.answer(None)
    assert isinstance(answer, BatchResult)
    assert not answer.errors
