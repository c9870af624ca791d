"""What the driver says outside of compiling and inference is understood too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import DeviceLost, DeviceUnavailable
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu import bucket_loader, compiled_bucket
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.protocol.timeouts import Timeouts
from openvino_reranker.tests.npu_worker.conftest import until
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

LOST = "L0 zeCommandQueueCreate result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001"


def raises(text: str) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(text)

    return fail


@pytest.fixture(autouse=True)
def _working(tree: SysfsTree) -> None:
    tree.tick()


def open_npu(tree: SysfsTree, model: ReadyModel, cache: Path, platform: StandIn | None = None) -> Engine:
    platform = platform or StandIn(tree.root, tree.dev)
    engine = Engine.open(model.folder, "NPU", npu=NpuSettings(cache, (32, 64)), platform=platform)
    until(lambda: not engine.device.progress(), "compiled")
    return engine


@pytest.mark.parametrize(("said", "says"), [(LOST, "modprobe -r intel_vpu"), ("something new", "something new")])
def test_requests_that_cannot_be_made_are_a_lost_device(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, says: str
) -> None:
    monkeypatch.setattr(bucket_loader, "CompiledBucket", raises(said))
    with pytest.raises(DeviceLost, match=says):
        open_npu(tree, tiny, tmp_path)


def test_a_lost_device_is_no_reason_to_throw_a_compiled_bucket_away(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_npu(tree, tiny, tmp_path)
    before = sorted(tmp_path.glob("*.blob"))
    assert len(before) == 2
    monkeypatch.setattr(bucket_loader, "CompiledBucket", raises(LOST))
    with pytest.raises(DeviceLost, match="loading 64 tokens"):
        open_npu(tree, tiny, tmp_path)
    assert sorted(tmp_path.glob("*.blob")) == before


def test_a_question_that_fails_is_a_device_that_is_not_there(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = StandIn(tree.root, tree.dev)
    monkeypatch.setattr(platform, "identify", raises("the plugin broke"))
    with pytest.raises(DeviceUnavailable, match="the plugin broke"):
        open_npu(tree, tiny, tmp_path, platform)


def test_a_row_that_never_ends_is_a_lost_device(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_bucket, "DEFAULT_TIMEOUTS", Timeouts(device_stuck=0))
    with pytest.raises(DeviceLost, match=r"self-test of 64 tokens.*timed out after 0 s"):
        open_npu(tree, tiny, tmp_path)
