import json
import os
import subprocess
import sys
from pathlib import Path

import openvino as ov
import pytest
from openvino_reranker.npu_worker.doctor.findings import Finding, as_json, ok, worst
from openvino_reranker.npu_worker.doctor.flops import count_flop
from openvino_reranker.npu_worker.doctor.kernel import check_machine
from openvino_reranker.npu_worker.doctor.npu_benchmark import try_npu
from openvino_reranker.npu_worker.doctor.openvino_stack import check_openvino, is_old
from openvino_reranker.npu_worker.doctor.service import check_cache, check_model, check_sockets
from openvino_reranker.npu_worker.errors import AlreadyOwned
from openvino_reranker.npu_worker.lock import DeviceLock
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiler_process import make_static
from openvino_reranker.npu_worker.npu.platform import DRIVER_1_24, Identity
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.npu_worker.npu.sysfs import find_npu
from openvino_reranker.tests.npu_worker.conftest import environment
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {each.about: each for each in findings}


def test_a_healthy_machine(tree: SysfsTree) -> None:
    (tree.root / "module" / "intel_vpu").mkdir(parents=True)
    (tree.root / "module" / "intel_vpu" / "version").write_text("1.0.\n")
    (tree.device / "device").write_text("0x643e\n")
    (tree.device / "npu_current_frequency_mhz").write_text("950\n")
    findings = check_machine(tree.root, tree.dev, "6.14.0-36-generic")
    assert worst(findings) == "ok"
    found = by_name(findings)
    assert found["kernel module"].found == "intel_vpu 1.0."
    assert found["NPU"].found == "accel0 at 0000:00:00.0, device 0x643e"
    assert "1000 us" in found["busy time"].found
    assert found["frequency"].found == "current 950 MHz"


@pytest.mark.parametrize(
    ("release", "level"),
    [("6.10.14", "problem"), ("5.15.0-91-generic", "problem"), ("6.11.0", "ok"), ("7.2-rc1", "ok")],
)
def test_a_kernel_too_old_for_the_counter(tree: SysfsTree, release: str, level: str) -> None:
    assert by_name(check_machine(tree.root, tree.dev, release))["kernel"].level == level


def test_a_machine_without_an_npu_says_what_else_there_is(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path, driver="amdxdna")
    found = by_name(check_machine(tree.root, tree.dev, "6.14"))
    assert found["accelerator"].found == "accel0 has the driver amdxdna: not an Intel NPU"
    assert found["NPU"].level == found["kernel module"].level == "problem"


def test_an_npu_without_device_file_or_counter(tree: SysfsTree) -> None:
    tree.counter.unlink()
    (tree.dev / "accel" / "accel0").unlink()
    found = by_name(check_machine(tree.root, tree.dev, "6.14"))
    assert found["device file"].level == found["busy time"].level == "problem"
    assert "--device /dev/accel" in found["device file"].to_do


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_device_file_that_is_not_for_this_user(tree: SysfsTree) -> None:
    (tree.dev / "accel" / "accel0").chmod(0)
    assert "not for this user" in by_name(check_machine(tree.root, tree.dev, "6.14"))["device file"].found


def test_openvino_with_a_proxy_for_an_npu(proxy: ov.Core) -> None:
    found = by_name(check_openvino(proxy, "2026"))
    assert found["NPU plugin"].level == "problem"
    assert "openvino_proxy_plugin" in found["NPU plugin"].found


@pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")
def test_openvino_without_an_npu() -> None:
    found = by_name(check_openvino(ov.Core(), ov.get_version()))
    assert found["devices"].found == "CPU"
    assert (found["NPU plugin"].level, found["NPU plugin"].found) == ("problem", "it is there and finds no NPU")
    assert found["NPU driver file"].level == "problem"


def test_versions_of_the_driver() -> None:
    assert is_old("1.23.0.20250827")
    assert not is_old("1.24.0.20251003")
    assert not is_old("2.0")
    assert not is_old("")
    identity = Identity("2026.4", str(DRIVER_1_24 - 1), "7", "3720", "NPU")
    assert identity.old_driver
    assert not Identity("2026.4", str(DRIVER_1_24), "7", "3720", "NPU").old_driver
    assert not Identity("2026.4", "unknown", "7", "3720", "NPU").old_driver


def test_the_service_around_it(tiny: ReadyModel, tmp_path: Path) -> None:
    assert check_model(tiny.folder).level == "ok"
    assert check_model(tmp_path).level == "problem"
    compiled = tmp_path / "compiled"
    compiled.mkdir()
    (compiled / "a.blob").write_bytes(b"x" * 1000)
    assert "1 compiled buckets" in check_cache(tmp_path, compiled).found
    (compiled / "b.poisoned").touch()
    assert check_cache(tmp_path, compiled).level == "warning"
    assert all("no service runs here" in each.found for each in check_sockets(tmp_path))
    (tmp_path / "requests.sock").touch()
    with DeviceLock(tmp_path, "NPU"):
        found = by_name(check_sockets(tmp_path))
        assert found["device lock"].found.endswith(f"held by pid {os.getpid()}")
    assert "device lock" not in by_name(check_sockets(tmp_path))


def test_the_command_prints_text_and_json(tiny: ReadyModel, tmp_path: Path) -> None:
    def doctor(*arguments: str) -> "subprocess.CompletedProcess[str]":
        folders = ["--model-dir", str(tiny.folder), "--cache", str(tmp_path), "--runtime-dir", str(tmp_path)]
        command = [sys.executable, "-m", "openvino_reranker", "doctor", *folders, *arguments]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    text, as_json = doctor(), doctor("--json")
    report = json.loads(as_json.stdout)
    assert {each["about"] for each in report["findings"]} >= {
        "kernel",
        "OpenVINO",
        "devices",
        "model",
        "cache",
        "socket",
    }
    for each in report["findings"]:
        assert each["level"] == "ok" or each["to_do"], each
    assert text.returncode == as_json.returncode == (report["worst"] == "problem")
    for each in report["findings"]:
        assert f"{each['level']:<8} {each['about']}" in text.stdout
    if find_npu() is None:
        assert text.returncode == 1
        assert doctor("--device", "CPU").returncode == 0  # what is missing is not needed then
        file = tmp_path / "report.json"
        tried = doctor("--npu", "--report", str(file))
        assert tried.returncode == 69
        assert "no NPU" in json.loads(file.read_text())["failed"]
        with DeviceLock(tmp_path, "NPU"):
            assert doctor("--npu", "--report", str(file)).returncode == AlreadyOwned.status
        assert "stop it first" in json.loads(file.read_text())["failed"]
        refused = doctor("--npu", "--report", str(tmp_path / "none" / "report.json"))
        assert refused.returncode == 1
        assert "cannot write the report" in refused.stderr


def test_trying_the_npu_out(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> None:
    tree.tick()
    (tree.device / "npu_current_frequency_mhz").write_text("950\n")
    said: list[str] = []
    report = try_npu(
        tiny.folder, NpuSettings(tmp_path, (32, 64)), StandIn(tree.root, tree.dev), said.append, timed_s=0.2
    )
    json.dumps(report)
    assert [timing["tokens"] for timing in report["timings"]] == [32, 64]
    for timing in report["timings"]:
        assert timing["pairs_per_second"] > 0
        assert timing["alone_ms"] > 0
        assert timing["gops_share"] is None  # the stand-in has no figure of its own
        assert timing["mhz"] == 950
        assert 0.3 < timing["busy_share"] <= 1
    assert [line for line in said if "pairs/s" in line]
    assert {each["state"] for each in report["buckets"].values()} == {"proven"}


def test_the_work_of_a_shape_is_counted(tiny: ReadyModel, packaged: ReadyModel) -> None:
    def flop(model: ReadyModel, tokens: int) -> float:
        graph = ov.Core().read_model(model.folder / "model.xml")
        make_static(graph, tokens)
        return count_flop(graph)

    # MiniLM-L12 at 128 tokens is 5.74 GFLOP with every layer in full; the last one needs only its first row.
    assert 5.2e9 < flop(packaged, 128) < 5.74e9
    assert flop(tiny, 64) > 2 * flop(tiny, 32)


def test_the_report_does_not_name_the_user() -> None:
    text = as_json([ok("cache", f"{Path.home()}/.cache/x")], {"trial": {}})
    assert "~/.cache/x" in text
    assert str(Path.home()) + "/" not in text
