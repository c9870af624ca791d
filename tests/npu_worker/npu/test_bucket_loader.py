"""Which bucket is next, and which is given up: a builder that does what the test tells it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from openvino_reranker.npu_worker.errors import CompileFailed, DeviceLost, WorkerError
from openvino_reranker.npu_worker.npu.blob_cache import BlobCache
from openvino_reranker.npu_worker.npu.bucket_builder import BucketBuilder, Unobtainable
from openvino_reranker.npu_worker.npu.bucket_loader import BucketLoader
from openvino_reranker.npu_worker.npu.compiled_bucket import CompiledBucket
from openvino_reranker.npu_worker.npu.device import NpuDevice
from openvino_reranker.npu_worker.npu.platform import Identity
from openvino_reranker.npu_worker.npu.self_test import SelfTest
from openvino_reranker.tests.npu_worker.model.tiny_bert import CARD

LENGTHS = (64, 128, 256, 512)


class Bucket:
    free = ()

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class Builder:
    """Builds every bucket but those that ``fails`` names, and notes the order."""

    def __init__(self, cache: BlobCache) -> None:
        self.cache = cache
        self.fails: dict[int, Exception] = {}
        self.built: list[int] = []

    def build(self, tokens: int) -> tuple[CompiledBucket, SelfTest]:
        self.built.append(tokens)
        if (error := self.fails.get(tokens)) is not None:
            raise error
        self.cache.clear_marks(tokens)
        return cast("CompiledBucket", Bucket(tokens)), SelfTest(tokens, 1, 0.0, 1.0)


def cache_in(folder: Path) -> BlobCache:
    return BlobCache(folder, CARD, Identity("2026", "1", "2", "4000", "n"), {})


def start(builder: Builder, epoch: str = "boot 1", *, retry: bool = False) -> tuple[NpuDevice, Callable[[], None]]:
    """Return a device, and what loads all its buckets as the worker does: the first at once, the rest behind it."""
    device = NpuDevice(LENGTHS, 2, "f16", cast("Any", None), {})
    loader = BucketLoader(device, cast("BucketBuilder", builder), builder.cache, epoch, retry=retry)
    builder.built.clear()

    def load() -> None:
        loader.load_next(lambda line: None)
        loader.load_rest()
        device.check()

    return device, load


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(cache_in(tmp_path))


def ready(device: NpuDevice) -> list[int]:
    return [bucket.tokens for bucket in device.buckets]


def test_the_longest_comes_first(builder: Builder) -> None:
    device, load = start(builder)
    load()
    assert builder.built == [512, 256, 128, 64]
    assert ready(device) == list(LENGTHS)


def test_what_cannot_be_had_is_given_up(builder: Builder) -> None:
    builder.fails = {512: Unobtainable("the compiler aborted"), 128: Unobtainable("it took too long")}
    device, load = start(builder)
    load()
    assert device.longest == 256
    assert ready(device) == [64, 256]
    assert device.progress() == ""


def test_the_longest_must_be_long_enough(builder: Builder) -> None:
    builder.fails = {tokens: Unobtainable(f"no {tokens}") for tokens in LENGTHS}
    _, load = start(builder)
    with pytest.raises(CompileFailed, match="64 tokens or more can be used; the longest: no 512"):
        load()
    assert builder.built == [512, 256, 128, 64]


def test_what_is_not_about_a_bucket_stops_all(builder: Builder) -> None:
    builder.fails = {128: WorkerError("the cache is gone")}
    device, load = start(builder)
    with pytest.raises(WorkerError, match="the cache is gone"):
        load()
    assert ready(device) == [256, 512]


def lose(builder: Builder, epoch: str = "boot 1") -> None:
    _, load = start(builder, epoch)
    with pytest.raises(DeviceLost):
        load()


def test_a_bucket_that_loses_the_device_twice_is_given_up_while_the_others_serve(builder: Builder) -> None:
    # Given a bucket whose self-test hangs the device
    builder.fails = {512: DeviceLost("hung")}
    for _ in range(2):
        lose(builder)
        assert builder.built == [512]
    # When the worker is started once more
    device, load = start(builder)
    load()
    # Then the others come first, and as they work, it is that bucket
    assert builder.built == [256, 128, 64]
    assert ready(device) == [64, 128, 256]
    assert device.details_of(512) == {
        "state": "given up",
        "why": "its self-test lost the device 2 times, while other buckets work",
    }
    # And that outlives the next restart of the machine
    mark = builder.cache.mark(512)
    assert mark is not None
    assert mark.times == 2


def test_a_device_that_hangs_whatever_it_runs_gets_no_bucket_blamed(builder: Builder) -> None:
    builder.fails = dict.fromkeys(LENGTHS, DeviceLost("hung"))
    for _ in range(12):
        lose(builder)
    assert all(builder.cache.mark(tokens) is None for tokens in LENGTHS)
    # When the driver was loaded anew, all is as it was
    builder.fails = {}
    device, load = start(builder, "boot 2")
    load()
    assert builder.built == [512, 256, 128, 64]
    assert device.longest == 512


def test_the_doctor_tries_what_is_suspected(builder: Builder) -> None:
    builder.fails = {512: DeviceLost("hung")}
    lose(builder)
    lose(builder)
    builder.fails = {}
    device, load = start(builder, retry=True)
    load()
    assert ready(device) == list(LENGTHS)
    assert builder.cache.count_losses(512, "boot 1") == 0
