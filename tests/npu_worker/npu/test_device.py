from collections.abc import Callable
from typing import Any, cast

import pytest
from openvino_reranker.npu_worker.errors import DeviceLost, WorkerError
from openvino_reranker.npu_worker.job import Job
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiled_bucket import BucketRequest, CompiledBucket
from openvino_reranker.npu_worker.npu.device import NO_NUMBERS_IN_A_ROW, NpuDevice
from openvino_reranker.npu_worker.npu.self_test import Proof
from openvino_reranker.npu_worker.packing import Run
from openvino_reranker.npu_worker.pipeline import Pipeline
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.protocol.messages import Batch, BatchFailed, BatchResult


class FakeRequest:
    """Holds its row until it is told to end."""

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket
        self.answer: float | Exception = 0.0
        self.row = Row([], [], False)
        self.end: Callable[[], None] = lambda: None

    def start(self, row: Row, ended: Callable[[], None]) -> None:
        if isinstance(self.answer, RuntimeError):
            raise self.answer
        self.row, self.end = row, ended
        self.answer = float(len(row))

    def logit(self) -> float | Exception:
        return self.answer


class FakeBucket:
    def __init__(self, tokens: int, requests: int) -> None:
        self.tokens = tokens
        self.all = [FakeRequest(tokens) for _ in range(requests)]
        self.free = list(self.all)


def admit(device: NpuDevice, tokens: int) -> FakeBucket:
    bucket = FakeBucket(tokens, device.requests)
    device.admit(cast("CompiledBucket", bucket), Proof(tokens, 1, 0.0, 1.0))
    return bucket


@pytest.fixture
def device() -> NpuDevice:
    return NpuDevice((16, 32, 64), 2, "f16", cast("Any", None), {})


def rows(*lengths: int) -> list[Row]:
    return [Row([1] * length, [0] * length, False) for length in lengths]


def nothing() -> None:
    """Do nothing."""


def test_so_many_in_flight_over_all_buckets(device: NpuDevice) -> None:
    small, large = admit(device, 16), admit(device, 32)
    batch = rows(10, 20, 10)
    runs = device.pack([len(row) for row in batch])
    assert [device.start(run, batch, nothing) for run in runs] == [True, True, False]
    assert (len(small.free), len(large.free)) == (1, 1)
    large.all[-1].end()
    [finished] = device.collect()
    assert finished.run is runs[1]
    assert finished.logits == [20.0]
    assert device.start(runs[2], batch, nothing)


def test_a_row_whose_bucket_is_being_compiled_waits_and_others_pass_it_by(device: NpuDevice, tiny: ReadyModel) -> None:
    # Given a device whose longest bucket is not there yet, and a batch with a long pair first
    small, middle = admit(device, 16), admit(device, 32)
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    pipeline.add(job(0, tokenizer, device, ["berlin " * 70, "berlin"]), 0.0)
    pipeline.add(job(1, tokenizer, device, ["live"]), 0.0)
    # When the short ones have ended
    end_all(small, middle)
    done = pipeline.advance(1.0)
    # Then the later batch is answered, and the earlier one waits, without the device being called stuck
    assert [each.number for each in done] == [1]
    assert not pipeline.idle
    assert pipeline.stalled_ms(100.0) == 0
    # Until its bucket comes
    large = admit(device, 64)
    pipeline.advance(2.0)
    end_all(large)
    [late] = pipeline.advance(3.0)
    answer = late.answer(7)
    assert isinstance(answer, BatchResult)
    assert answer.logits == [64.0, float(answer.tokens[1])]
    assert answer.npu_busy_delta_us == 7
    assert pipeline.idle


def job(number: int, tokenizer: PairTokenizer, device: NpuDevice, passages: list[str]) -> Job:
    pairs = [(0, passage.encode()) for passage in passages]
    return Job(Batch(number, [b"berlin"], pairs), tokenizer, device)


def end_all(*buckets: FakeBucket) -> None:
    for bucket in buckets:
        for request in bucket.all:
            if request not in bucket.free:
                request.end()


def test_a_bucket_given_up_hands_its_rows_to_the_next_larger_one(device: NpuDevice) -> None:
    admit(device, 16)
    batch = rows(20)
    [planned] = device.pack([20])
    assert device.waits(planned)
    device.give_up(32, "the compiler aborted")
    assert device.waits(planned)  # for the larger one now
    large = admit(device, 64)
    assert device.start(planned, batch, nothing)
    assert len(large.free) == 1
    assert [run.length for run in device.pack([20, 10])] == [64, 16]
    assert device.progress() == ""
    assert device._state(32) == {"state": "given up", "why": "the compiler aborted"}


def test_a_bucket_that_comes_wakes_the_loop(device: NpuDevice) -> None:
    woken: list[int] = []
    assert not device.start(Run((0,), 16), rows(10), lambda: woken.append(1))
    assert device.progress() == "compiling 1/3"
    admit(device, 16)
    assert woken == [1]
    assert device.progress() == "compiling 2/3"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001", "modprobe -r intel_vpu"),
        ("the device answered [nan]", r"\[nan\]"),
    ],
)
def test_a_failed_inference_is_the_end_of_the_device(device: NpuDevice, tiny: ReadyModel, said: str, says: str) -> None:
    bucket = admit(device, 16)
    pipeline = Pipeline(device, nothing)
    pipeline.add(job(3, PairTokenizer(tiny.folder / "tokenizer.json", 64), device, ["live"]), 0.0)
    device.check()
    for request in bucket.all:
        request.answer = RuntimeError(said)
    end_all(bucket)
    [failed] = pipeline.advance(1.0)
    assert isinstance(failed.answer(None), BatchFailed)
    with pytest.raises(DeviceLost, match=says):
        device.check()


def test_a_pair_that_overflows_fails_alone(device: NpuDevice, tiny: ReadyModel) -> None:
    bucket = admit(device, 16)
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    for number in range(2 * NO_NUMBERS_IN_A_ROW):  # every other pair
        pipeline.add(job(number, tokenizer, device, ["live", "live"]), 0.0)
        for request in [each for each in bucket.all if each not in bucket.free][:1]:
            request.answer = ArithmeticError("the device answered [nan]")
        end_all(bucket)
        [done] = pipeline.advance(1.0)
        answer = done.answer(None)
        assert isinstance(answer, BatchResult)
        [error] = answer.errors
        assert (error.code, error.message) == ("failed", "the device answered [nan]")
        assert answer.logits[1 - error.position] > 0
        device.check()


def test_a_device_that_answers_no_numbers_is_lost(device: NpuDevice, tiny: ReadyModel) -> None:
    bucket = admit(device, 16)
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    for number in range(NO_NUMBERS_IN_A_ROW):
        device.check()
        pipeline.add(job(number, tokenizer, device, ["live"]), 0.0)
        for request in bucket.all:
            request.answer = ArithmeticError("the device answered [nan]")
        end_all(bucket)
        pipeline.advance(1.0)
    with pytest.raises(DeviceLost, match="3 times in a row"):
        device.check()


def test_a_device_that_does_not_take_a_row_is_lost(device: NpuDevice) -> None:
    bucket = admit(device, 16)
    bucket.all[-1].answer = RuntimeError("ZE_RESULT_ERROR_DEVICE_LOST")
    assert device.start(Run((0,), 16), rows(10), nothing)
    [finished] = device.collect()
    assert isinstance(finished.logits, RuntimeError)
    with pytest.raises(DeviceLost):
        device.check()


def test_the_first_trouble_counts(device: NpuDevice) -> None:
    device.fail(WorkerError("first"))
    device.fail(WorkerError("second"))
    with pytest.raises(WorkerError, match="first"):
        device.check()


def test_a_row_of_nothing_is_never_sent() -> None:
    class Request:
        model_inputs = ()

        def set_callback(self, callback: object, data: object) -> None:
            """Forget it."""

    request = BucketRequest(16, Request())
    for row in rows(0, 17):
        with pytest.raises(ValueError, match="does not fit 16"):
            request.start(row, nothing)
