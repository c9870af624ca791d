import os
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from openvino_reranker.npu_worker.errors import NoNpu, NoPermission, NotAnNpu, NoUserDriver
from openvino_reranker.npu_worker.npu import platform
from openvino_reranker.npu_worker.npu.driver_files import hash_firmware
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


@pytest.mark.parametrize(
    ("group", "says"), [("video", "usermod -aG video"), ("root", "udev/rules.d")], ids=["of a group", "of root alone"]
)
def test_a_device_file_of_others(tree: SysfsTree, monkeypatch: pytest.MonkeyPatch, group: str, says: str) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(Path, "group", lambda path: group)
    with pytest.raises(NoPermission, match=rf"may not open .*accel0.*{says}"):
        Platform(tree.root, tree.dev).identify(ov.Core())


def test_a_left_over_driver_is_named(tree: SysfsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "loads", lambda library: library == "libze_intel_vpu.so.1")
    with pytest.raises(NoUserDriver, match=r"libze_intel_vpu\.so\.1 .* is still installed.*find /usr .*-delete"):
        Platform(tree.root, tree.dev).identify(ov.Core())


def test_a_reloaded_driver_is_another_epoch(tree: SysfsTree) -> None:
    machine = Platform(tree.root, tree.dev)
    before = machine.device_epoch()
    assert machine.device_epoch() == before
    node = tree.dev / "accel" / "accel0"
    node.rename(node.with_name("kept, so that its inode is not used again"))
    node.touch()
    assert machine.device_epoch() != before
    node.unlink()
    assert machine.device_epoch() == ""


def test_the_firmware_files_are_part_of_the_identity(tmp_path: Path) -> None:
    folder = tmp_path / "intel" / "vpu"
    folder.mkdir(parents=True)
    assert hash_firmware("4000", tmp_path) == ""
    (folder / "vpu_40xx_v1.bin.zst").write_bytes(b"1")
    before = hash_firmware("4000", tmp_path)
    (folder / "vpu_37xx_v1.bin").write_bytes(b"of another generation")
    assert hash_firmware("4000", tmp_path) == before
    updated = tmp_path / "updates" / "intel" / "vpu"
    updated.mkdir(parents=True)
    (updated / "vpu_40xx_v1.bin").write_bytes(b"2")
    assert hash_firmware("4000", tmp_path) != before


def test_the_real_machine_is_the_default() -> None:
    assert str(Platform().sysfs) == "/sys"
    assert Platform().compile_command()[-1].endswith("npu.compiler_process")
