import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from openvino_reranker.npu_worker.errors import DeviceLost, WorkerError
from openvino_reranker.npu_worker.job import Job
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.bucket_plan import cost
from openvino_reranker.npu_worker.npu.compiled_bucket import BucketRequest, CompiledBucket
from openvino_reranker.npu_worker.npu.device import MOST_NOT_FINITE, NpuDevice
from openvino_reranker.npu_worker.npu.self_test import SelfTest
from openvino_reranker.npu_worker.packing import Run
from openvino_reranker.npu_worker.pipeline import Pipeline
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.protocol.worker_messages import Batch, BatchFailed, BatchResult


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
    device.admit(cast("CompiledBucket", bucket), SelfTest(tokens, 1, 0.0, 1.0))
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


def test_a_row_runs_in_the_smallest_bucket_that_is_ready(device: NpuDevice, tiny: ReadyModel) -> None:
    # Given a device whose longest bucket alone is there
    large = admit(device, 64)
    assert device.longest == 64
    assert [run.length for run in device.pack([10, 20, 40])] == [64, 64, 64]
    assert [(bucket.tokens, bucket.cost) for bucket in device.buckets] == [(64, cost(64))]
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    pipeline.add(job(0, tokenizer, device, ["berlin", "live"]), 0.0)
    # When a shorter one comes while a batch is under way
    small = admit(device, 16)
    pipeline.add(job(1, tokenizer, device, ["berlin", "berlin " * 40]), 0.0)
    # Then that batch ends as it was planned, and the next one uses it
    assert [bucket.tokens for bucket in device.buckets] == [16, 64]
    end_all(large)
    [first] = pipeline.advance(1.0)
    end_all(small, large)
    [second] = pipeline.advance(2.0)
    answers = [each.answer(7) for each in (first, second)]
    assert [answer.padded_tokens for answer in answers if isinstance(answer, BatchResult)] == [128, 80]
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
    admit(device, 64)
    device.give_up(32, "the compiler aborted")
    admit(device, 16)
    assert [run.length for run in device.pack([20, 10])] == [64, 16]
    assert device.progress() == ""
    assert device.details_of(32) == {"state": "given up", "why": "the compiler aborted"}


def test_progress_counts_what_was_given_up(device: NpuDevice) -> None:
    assert device.progress() == "compiling 1/3"
    device.give_up(64, "the compiler aborted")
    assert device.progress() == "compiling 2/3"
    admit(device, 32)
    assert device.longest == 32
    assert device.progress() == "compiling 3/3"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001", "modprobe -r intel_vpu"),
        ("the device answered [nan]", r"\[nan\]"),
    ],
)
def test_a_failed_inference_is_the_end_of_the_device(device: NpuDevice, tiny: ReadyModel, said: str, says: str) -> None:
    bucket = admit(device, 64)
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
    bucket = admit(device, 64)
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    for number in range(2 * MOST_NOT_FINITE):  # every other pair
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


def test_a_device_that_returns_nothing_but_nan_is_lost(device: NpuDevice, tiny: ReadyModel) -> None:
    bucket = admit(device, 64)
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    pipeline = Pipeline(device, nothing)
    for number in range(MOST_NOT_FINITE):
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


def test_the_first_error_counts(device: NpuDevice) -> None:
    device.fail(WorkerError("first"))
    device.fail(WorkerError("second"))
    with pytest.raises(WorkerError, match="first"):
        device.check()


class PluginRequest:
    """OpenVINO's side of a request: it ends when the test says so."""

    model_inputs = ()
    running: ClassVar[list["PluginRequest"]] = []

    def set_callback(self, callback: Callable[[Any], None], data: object) -> None:
        self.callback = callback

    def start_async(self) -> None:
        self.running.append(self)

    def wait(self) -> None:
        """It has ended."""

    def get_output_tensor(self, number: int) -> Any:
        return SimpleNamespace(data=np.array([[4.5]]))


def test_a_row_in_flight_outlives_the_garbage_collector(device: NpuDevice) -> None:
    compiled = SimpleNamespace(create_infer_request=PluginRequest)
    device.admit(CompiledBucket(64, compiled, 2), SelfTest(64, 1, 0.0, 1.0))
    assert device.start(Run((0,), 64), rows(10), nothing)
    gc.collect()
    [running] = PluginRequest.running
    running.callback(None)
    [finished] = device.collect()
    assert finished.logits == [4.5]


def test_a_row_of_nothing_is_never_sent() -> None:
    class Request:
        model_inputs = (SimpleNamespace(names={"input_ids"}),)

        def get_tensor(self, port: object) -> SimpleNamespace:
            return SimpleNamespace(data=np.zeros((1, 16), np.int32))

        def set_callback(self, callback: object, data: object) -> None:
            """Forget it."""

    request = BucketRequest(16, Request())
    for row in rows(0, 17):
        with pytest.raises(ValueError, match="does not fit 16"):
            request.start(row, nothing)
