"""Jobs through a device that does what the test tells it."""

from collections.abc import Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.npu_worker.device import Finished
from openvino_reranker.npu_worker.job import Job
from openvino_reranker.npu_worker.packing import Run
from openvino_reranker.npu_worker.pipeline import LEAD_MS, MOST_JOBS, Pipeline
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.protocol.worker_messages import Batch, BatchResult


class Tokenizer:
    """A token per character."""

    def encode(self, query: str, passages: Sequence[str], plans: object = ()) -> list[Row]:
        return [Row([1] * len(passage), [0] * len(passage), False) for passage in passages]


class Device:
    """Runs ``lanes`` runs of one row side by side."""

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = lanes
        self.running: list[Run] = []
        self.ended: list[Finished] = []

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        return [Run((place,), length) for place, length in enumerate(lengths)]

    def start(self, run: Run, rows: Sequence[Row], wake: object) -> bool:
        if len(self.running) >= self.lanes:
            return False
        self.running.append(run)
        return True

    def end(self, run: Run, when: float) -> None:
        self.running.remove(run)
        self.ended.append(Finished(run, [1.0], when))

    def collect(self) -> list[Finished]:
        ended, self.ended = self.ended, []
        return ended


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


def test_a_run_that_nobody_waits_for_any_more_still_holds_the_device() -> None:
    device = Device()
    pipeline = make(device)
    pipeline.add(job(device, 5), 0.0)
    pipeline.abandon()
    assert pipeline.idle
    assert pipeline.device_busy
    assert pipeline.stalled_ms(7.0) == 7000  # a device that hangs is stuck, whoever asked
    device.end(device.running[0], 8.0)
    assert pipeline.advance(8.0) == []
    assert not pipeline.device_busy
    assert (pipeline.stalled_ms(9.0), pipeline.free_in_ms(9.0)) == (0.0, 0.0)


def test_the_device_is_not_blamed_for_a_stop_of_the_worker_itself() -> None:
    device = Device()
    pipeline = make(device)
    pipeline.add(job(device, 5), 0.0)
    pipeline.resume(20.0)
    assert pipeline.stalled_ms(20.5) == 500


def test_a_run_that_finds_no_room_starts_when_there_is() -> None:
    device = Device(lanes=1)
    pipeline = make(device)
    pipeline.add(job(device, 5, 6), 0.0)
    assert [run.length for run in device.running] == [5]
    device.end(device.running[0], 1.0)
    assert pipeline.advance(1.0) == []
    assert [run.length for run in device.running] == [6]
    device.end(device.running[0], 2.0)
    [done] = pipeline.advance(2.0)
    assert isinstance(done.answer(None), BatchResult)
    assert done.worked
