"""What the driver says outside of compiling, and what becomes of a compiled model in the cache then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import DeviceLost, DeviceUnavailable, WrongLogits
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu import bucket_builder, compiled_bucket
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.protocol.timeouts import Timeouts
from openvino_reranker.tests.npu_worker.conftest import until
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

LOST = "L0 zeCommandQueueCreate result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001"
UNKNOWN = "L0 pfnCreate result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe"


def raises(error: Exception | str) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(error) if isinstance(error, str) else error

    return fail


@pytest.fixture(autouse=True)
def _working(tree: SysfsTree) -> None:
    tree.tick()


def open_npu(tree: SysfsTree, model: ReadyModel, cache: Path, platform: StandIn | None = None) -> Engine:
    platform = platform or StandIn(tree.root, tree.dev)
    engine = Engine.open(model.folder, "NPU", npu=NpuSettings(cache, (64,), requests=2), platform=platform)
    until(lambda: not engine.device.progress(), "compiled")
    return engine


def kept(cache: Path) -> list[str]:
    return sorted(path.suffix for path in cache.iterdir() if path.suffix in {".blob", ".lost", ".poisoned"})


@pytest.mark.parametrize(("said", "says"), [(LOST, "modprobe -r intel_vpu"), ("something new", "something new")])
def test_requests_that_cannot_be_made_are_a_lost_device(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, says: str
) -> None:
    monkeypatch.setattr(bucket_builder, "CompiledBucket", raises(said))
    with pytest.raises(DeviceLost, match=says):
        open_npu(tree, tiny, tmp_path)
    assert kept(tmp_path) == [".lost"]  # what was never tested is not kept


def test_a_self_test_that_hangs_keeps_nothing(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_bucket, "DEFAULT_TIMEOUTS", Timeouts(device_stuck=0))
    with pytest.raises(DeviceLost, match=r"self-test of 64 tokens.*timed out after 0 s"):
        open_npu(tree, tiny, tmp_path)
    assert kept(tmp_path) == [".lost"]


@pytest.fixture
def cached(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> Path:
    """A cache with a bucket that worked."""
    open_npu(tree, tiny, tmp_path)
    assert kept(tmp_path) == [".blob"]
    return tmp_path


@pytest.mark.parametrize("part", ["CompiledBucket", "self_test"], ids=["in loading", "in the self-test"])
def test_a_cached_bucket_that_loses_the_device_is_thrown_away_first(
    tree: SysfsTree, tiny: ReadyModel, cached: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(bucket_builder, part, raises(LOST if part == "CompiledBucket" else DeviceLost("timed out")))
    with pytest.raises(DeviceLost):
        open_npu(tree, tiny, cached)
    assert kept(cached) == [".lost"]


@pytest.mark.parametrize(
    ("part", "error"),
    [("CompiledBucket", UNKNOWN), ("self_test", WrongLogits("off"))],
    ids=["cannot be loaded", "computes wrongly"],
)
def test_a_cached_bucket_that_is_no_good_is_compiled_again(
    tree: SysfsTree, tiny: ReadyModel, cached: Path, monkeypatch: pytest.MonkeyPatch, part: str, error: Any
) -> None:
    right = getattr(bucket_builder, part)
    answers = [raises(error), right]
    monkeypatch.setattr(bucket_builder, part, lambda *arguments: answers.pop(0)(*arguments))
    open_npu(tree, tiny, cached)
    assert answers == []
    assert kept(cached) == [".blob"]


def test_too_little_memory_is_not_the_cached_buckets_fault(
    tree: SysfsTree, tiny: ReadyModel, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_builder, "CompiledBucket", raises("ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY"))
    with pytest.raises(Exception, match="not enough memory"):
        open_npu(tree, tiny, cached)
    assert kept(cached) == [".blob"]


def test_a_question_that_fails_is_a_device_that_is_not_there(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = StandIn(tree.root, tree.dev)
    monkeypatch.setattr(platform, "identify", raises("the plugin broke"))
    with pytest.raises(DeviceUnavailable, match="the plugin broke"):
        open_npu(tree, tiny, tmp_path, platform)
