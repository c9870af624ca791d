import json
import os
import subprocess
import sys
from pathlib import Path

import openvino as ov
import pytest
from openvino_reranker.npu_worker.doctor.findings import Finding, worst
from openvino_reranker.npu_worker.doctor.kernel import check_machine
from openvino_reranker.npu_worker.doctor.openvino_stack import check_libraries, check_openvino, check_packages
from openvino_reranker.npu_worker.doctor.service import check_cache, check_model, check_sockets
from openvino_reranker.npu_worker.errors import AlreadyOwned
from openvino_reranker.npu_worker.lock import DeviceLock
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu import advice, start
from openvino_reranker.npu_worker.npu.driver_files import COMPILER_LIBRARIES, numbers_of
from openvino_reranker.npu_worker.npu.platform import DRIVER_1_24, Identity
from openvino_reranker.npu_worker.npu.sysfs import find_npu
from openvino_reranker.tests.npu_worker.conftest import ROOT, environment
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
    assert found["NPU"].found == "accel0 at 0000:00:00.0, device 0x643e: Lunar Lake (4000)"
    assert "1000 us" in found["busy time"].found
    assert found["frequency"].found == "current 950 MHz"


@pytest.mark.parametrize(
    ("release", "counter", "level"),
    [("6.10.14", False, "warning"), ("5.15.0-91-generic", True, "ok"), ("6.11.0", True, "ok"), ("7.2-rc1", True, "ok")],
)
def test_the_counter_decides_not_the_kernels_number(tmp_path: Path, release: str, counter: bool, level: str) -> None:
    tree = SysfsTree(tmp_path, counter="1000\n" if counter else None)
    found = by_name(check_machine(tree.root, tree.dev, release))
    assert found["kernel"].level == level
    assert found["busy time"].level == ("ok" if counter else "problem")


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


@pytest.mark.parametrize(
    ("group", "to_do"),
    [("video", advice.join_group("video")), ("root", advice.ADD_RULE)],
    ids=["of a group", "of root"],
)
def test_a_device_file_that_is_not_for_this_user(
    tree: SysfsTree, monkeypatch: pytest.MonkeyPatch, group: str, to_do: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(Path, "group", lambda path: group)
    finding = by_name(check_machine(tree.root, tree.dev, "6.14"))["device file"]
    assert (finding.level, finding.to_do) == ("problem", to_do)


def test_openvino_with_a_proxy_for_an_npu(proxy: ov.Core) -> None:
    found = by_name(check_openvino(proxy, "2026"))
    assert found["NPU plugin"].level == "problem"
    assert "openvino_proxy_plugin" in found["NPU plugin"].found


@pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")
def test_openvino_without_an_npu() -> None:
    found = by_name(check_openvino(ov.Core(), ov.get_version()))
    assert found["devices"].found == "CPU"
    assert (found["NPU plugin"].level, found["NPU plugin"].found) == ("problem", "it is installed but finds no NPU")
    assert found["NPU driver file"].level == "problem"


@pytest.mark.parametrize(
    ("installed", "about", "level", "to_do"),
    [
        ({"libze_loader.so.1", "libze_intel_npu.so.1", COMPILER_LIBRARIES[0]}, "NPU compiler", "ok", ""),
        ({"libze_loader.so.1", "libze_intel_npu.so.1", COMPILER_LIBRARIES[1]}, "NPU compiler", "ok", ""),
        ({"libze_loader.so.1", "libze_intel_npu.so.1"}, "NPU compiler", "problem", advice.COMPILER),
        ({"libze_intel_npu.so.1"}, "Level Zero", "problem", advice.LOADER),
        ({"libze_loader.so.1"}, "NPU driver file", "problem", advice.INSTALL),
        (
            {"libze_loader.so.1", "libze_intel_npu.so.1", "libze_intel_vpu.so.1"},
            "old NPU driver",
            "problem",
            advice.LEFT_OVER,
        ),
    ],
)
def test_libraries_that_are_missing_or_left_over(installed: set[str], about: str, level: str, to_do: str) -> None:
    finding = by_name(check_libraries(installed.__contains__))[about]
    assert (finding.level, finding.to_do) == (level, to_do)


RELEASE = "1.38.0.20260910-34487311128~ubuntu24.04"
OLD = "1.23.0.20250827-17270089246~ubuntu24.04"
PACKAGES = dict.fromkeys(advice.PACKAGES, RELEASE) | {"libze1": "1.20.6-1"}


@pytest.mark.parametrize(
    ("installed", "about", "level", "to_do"),
    [
        (PACKAGES, "packages", "ok", ""),
        (PACKAGES | {"intel-fw-npu": OLD}, "packages", "problem", advice.ONE_RELEASE),
        (dict.fromkeys(advice.PACKAGES, OLD), "packages", "warning", advice.UPDATE),
        (PACKAGES | {"libze1": "1.8.12-1"}, "Level Zero", "problem", advice.LOADER),
        ({}, "packages", "warning", f"unless they were installed otherwise: {advice.INSTALL}"),
    ],
    ids=["good", "mixed", "old", "old loader", "none"],
)
def test_packages(installed: dict[str, str], about: str, level: str, to_do: str) -> None:
    finding = by_name(check_packages(installed))[about]
    assert (finding.level, finding.to_do) == (level, to_do)
    assert check_packages(None) == []


def test_versions_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers_of("1:1.24.0.20251003-18218973328~ubuntu24.04", 3) == (1, 24, 0)
    assert numbers_of("2", 2) is None
    old, new, unknown = (Identity("2026.4", build, "7", "3720", "NPU") for build in ("1759276799", "1759276800", "?"))
    assert int(new.driver) == DRIVER_1_24
    monkeypatch.setattr(start, "read_packages", dict)
    assert [start.is_old(each) for each in (old, new, unknown)] == [True, False, False]
    # A distribution's new build of an old release is an old release.
    monkeypatch.setattr(start, "read_packages", lambda: {"intel-level-zero-npu": OLD})
    assert start.is_old(new)


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


def test_a_socket_that_is_closed_to_this_user_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> int | None:
        raise PermissionError(f"{path} is another user's")

    monkeypatch.setattr("openvino_reranker.npu_worker.doctor.service.find_listener", closed)
    (tmp_path / "requests.sock").touch()
    assert [(each.level, each.to_do) for each in check_sockets(tmp_path)] == [("ok", "")] * 2


def test_readme_gives_the_same_advice() -> None:
    readme = (ROOT / "README.md").read_text()
    for text in (advice.RELEASES, advice.UDEV_RULE, advice.LEFT_OVER, "loginctl terminate-user $USER", "1.17.17"):
        assert text in readme, text


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
        file = tmp_path / "report.md"
        tried = doctor("--npu", "--report", str(file))
        assert tried.returncode == 69
        written = file.read_text()
        assert "## What stopped it\n\n```\nno NPU" in written
        for own in (str(Path.home()) + "/", str(tmp_path), str(tiny.folder)):
            assert own not in written
        with DeviceLock(tmp_path, "NPU"):
            assert doctor("--sweep", "--report", str(file)).returncode == AlreadyOwned.status
        assert "stop it first" in file.read_text()
        refused = doctor("--npu", "--report", str(tmp_path / "none" / "report.md"))
        assert refused.returncode == 1
        assert "cannot write the report" in refused.stderr
