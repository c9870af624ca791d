import os
from typing import Any

import openvino as ov
import pytest
from openvino_reranker.npu_worker.errors import NoNpu, NoPermission, NotAnNpu
from openvino_reranker.npu_worker.npu.platform import Platform
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


class Compiled:
    def __init__(self, **properties: Any) -> None:
        self._properties = {"EXECUTION_DEVICES": "NPU"} | properties

    def get_property(self, name: str) -> Any:
        if name not in self._properties:
            raise RuntimeError(f"Unsupported configuration key: {name}")
        return self._properties[name]


@pytest.mark.parametrize(
    "compiled",
    [
        Compiled(),
        Compiled(EXECUTION_DEVICES=["NPU"]),
        Compiled(EXECUTION_DEVICES=["NPU.3720"]),
        Compiled(NPU_USE_NPUW=False, NPUW_DEVICES="NPU,CPU"),
        Compiled(NPU_USE_NPUW="NO", NPUW_DEVICES="NPU"),
    ],
)
def test_a_model_on_the_npu_passes(compiled: Compiled) -> None:
    Platform().check_compiled(compiled)


@pytest.mark.parametrize(
    "compiled",
    [
        Compiled(EXECUTION_DEVICES=[]),
        Compiled(EXECUTION_DEVICES=["CPU"]),
        Compiled(EXECUTION_DEVICES=["NPU_CPU"]),
        Compiled(EXECUTION_DEVICES=["NPU", "CPU"]),
        Compiled(EXECUTION_DEVICES="(CPU)"),
        Compiled(NPU_USE_NPUW=True),
        Compiled(NPU_USE_NPUW="YES", NPUW_DEVICES="NPU"),
        Compiled(NPUW_DEVICES="CPU"),
    ],
)
def test_anything_else_is_refused(compiled: Compiled) -> None:
    with pytest.raises(NotAnNpu):
        Platform().check_compiled(compiled)


def test_no_accelerator(tree: SysfsTree) -> None:
    tree.bind(tree.device, "qaic")
    with pytest.raises(NoNpu, match=r"accel0 \(qaic\); the module intel_vpu is not loaded"):
        Platform(tree.root, tree.dev).identify(ov.Core())


def test_a_device_file_that_is_missing(tree: SysfsTree) -> None:
    (tree.dev / "accel" / "accel0").unlink()
    with pytest.raises(NoNpu, match="is missing: is it hidden by a container"):
        Platform(tree.root, tree.dev).identify(ov.Core())


def test_a_device_file_of_others(tree: SysfsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(NoPermission, match=r"may not open .*accel0.*usermod -aG render"):
        Platform(tree.root, tree.dev).identify(ov.Core())


def test_the_real_machine_is_the_default() -> None:
    assert str(Platform().sysfs) == "/sys"
    assert Platform().compile_command()[-1].endswith("compiler_process.py")
