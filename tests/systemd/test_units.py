"""The units as installed: systemd understands every word of them, and the sandbox is as tight as it was."""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from openvino_reranker.broker.router import MAX_CONNECTIONS
from openvino_reranker.npu_worker.errors import PERMANENT
from openvino_reranker.protocol.timeouts import DEFAULT_TIMEOUTS
from openvino_reranker.tests.processes import ROOT, RuntimeFolder
from openvino_reranker.tests.systemd.installing import install_units

KINDS = ("user", "system")
SERVICES = ("broker", "worker", "http")


@pytest.fixture(scope="module")
def installed() -> Iterator[dict[str, Path]]:
    """The folders of both kinds of units, installed for each device."""
    with RuntimeFolder() as folder:
        install_units(folder)
        install_units(folder, "--system", "--root", str(folder / "root"))
        for device in ("CPU", "GPU"):
            install_units(folder, "--system", "--root", str(folder / device), "--device", device)
        system = Path("etc/systemd/system")
        yield {
            "user": folder / ".config/systemd/user",
            "system": folder / "root" / system,
            "system CPU": folder / "CPU" / system,
            "system GPU": folder / "GPU" / system,
        }


def read_unit(path: Path) -> configparser.RawConfigParser:
    """A unit as sections of values; a repeated key keeps its last value."""
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read_string(path.read_text())
    return unit


def verify(analyze: str, kind: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    units = sorted(str(each) for each in folder.glob("openvino-reranker*"))
    assert len(units) == 7
    with RuntimeFolder() as runtime:
        return subprocess.run(
            [analyze, "--user" if kind == "user" else "--system", "verify", "--recursive-errors=yes", *units],
            env=os.environ | {"XDG_RUNTIME_DIR": str(runtime)},
            capture_output=True,
            text=True,
        )


@pytest.mark.parametrize("kind", ["user", "system", "system CPU", "system GPU"])
def test_systemd_understands_the_units(analyze: str, installed: dict[str, Path], kind: str) -> None:
    verified = verify(analyze, kind, installed[kind])
    assert verified.returncode == 0, verified.stderr


def test_a_slip_in_a_unit_would_be_seen(analyze: str, installed: dict[str, Path], tmp_path: Path) -> None:
    for unit in installed["user"].iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSek="))
    verified = verify(analyze, "user", tmp_path)
    assert verified.returncode != 0
    assert "WatchdogSek" in verified.stderr


@pytest.mark.parametrize(("service", "limit"), [("broker", 1.0), ("http", 2.5), ("worker", 2.0)])
@pytest.mark.parametrize("kind", ["system", "system CPU", "system GPU"])
def test_exposure_of_the_system_units(
    analyze: str, installed: dict[str, Path], kind: str, service: str, limit: float
) -> None:
    unit = installed[kind] / f"openvino-reranker-{service}.service"
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", f"--threshold={round(limit * 10)}", str(unit)],
        capture_output=True,
        text=True,
    )
    assert "Overall exposure level" in judged.stdout, judged.stderr
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_directive_that_is_off_in_the_sandbox_has_its_reason(installed: dict[str, Path], kind: str) -> None:
    wanted = ["PrivateUsers", "PrivateDevices", "ProcSubset", "MemoryDenyWriteExecute", "ProtectHome", "PrivateNetwork"]
    for service in SERVICES:
        text = (installed[kind] / f"openvino-reranker-{service}.service").read_text()
        for directive in wanted:
            assert re.search(rf"^{directive}=(yes|pid|tmpfs)$|^# .*{directive}=", text, re.M), (service, directive)


@pytest.mark.parametrize("kind", KINDS)
def test_one_socket_unit_for_each_name_and_its_service_takes_it(installed: dict[str, Path], kind: str) -> None:
    folder = installed[kind]
    found = {}
    for path in folder.glob("*.socket"):
        unit = read_unit(path)["Socket"]
        streams = re.findall(r"^ListenStream=(.*)$", path.read_text(), re.M)
        found[unit["FileDescriptorName"]] = (streams, unit.get("Service"), unit["SocketMode"])
    mode = "0600" if kind == "user" else "0660"
    assert found == {
        "requests": (["%t/openvino-reranker/requests.sock"], None, mode),
        "workers": (["%t/openvino-reranker/workers.sock"], "openvino-reranker-broker.service", "0600"),
        "http": (["127.0.0.1:18818", "%t/openvino-reranker/http.sock"], None, "0660"),
    }
    broker = read_unit(folder / "openvino-reranker-broker.service")
    assert broker["Service"]["Sockets"].split() == broker["Unit"]["Requires"].split()
    assert broker["Unit"]["Wants"] == "openvino-reranker-worker.service"  # a request starts the worker too
    front = read_unit(folder / "openvino-reranker-http.service")
    assert "openvino-reranker-broker.socket" in front["Unit"]["Wants"]


def told_along(folder: Path, unit: str, what: str) -> set[str]:
    """The units that are stopped, or restarted, along with one: systemd.unit(5), ``Requires=`` and the like."""
    directives = {"Requires", "BindsTo", "PartOf", *(["StopPropagatedFrom"] if what == "stop" else [])}
    told, new = {unit}, {unit}
    while new:
        found = {
            path.name
            for path in folder.glob("openvino-reranker*")
            for directive, names in read_unit(path)["Unit"].items()
            if directive in directives and new & set(names.split())
        }
        new = found - told
        told |= new
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_the_sockets_stop_with_the_target_and_stay_when_it_is_restarted(installed: dict[str, Path], kind: str) -> None:
    folder, target = installed[kind], "openvino-reranker.target"
    services = {f"openvino-reranker-{name}.service" for name in SERVICES}
    sockets = {path.name for path in folder.glob("*.socket")}
    assert told_along(folder, target, "stop") == {target} | services | sockets
    assert told_along(folder, target, "restart") == {target} | services
    # A new address is listened on when the socket is restarted, and the front with it: the socket could not, alone.
    http = {"openvino-reranker-http.socket", "openvino-reranker-http.service"}
    assert told_along(folder, "openvino-reranker-http.socket", "restart") == http


def test_the_commands_for_a_change_are_the_same_everywhere(installed: dict[str, Path]) -> None:
    environment = (installed["user"].parents[1] / "openvino-reranker/environment").read_text()
    for text in ((ROOT / "README.md").read_text(), environment):
        assert "systemctl --user restart openvino-reranker.target" in text
        assert "systemctl --user restart openvino-reranker-http.socket" in text


@pytest.mark.parametrize("kind", KINDS)
def test_services_run_this_environment_and_stop_with_the_target(installed: dict[str, Path], kind: str) -> None:
    for service in SERVICES:
        unit = read_unit(installed[kind] / f"openvino-reranker-{service}.service")
        assert unit["Unit"]["PartOf"] == "openvino-reranker.target"
        assert unit["Service"]["Type"] == "notify"
        command = unit["Service"]["ExecStart"]
        assert command == f"{sys.executable} -P -m openvino_reranker {service} --runtime-dir %t/openvino-reranker"
    worker = read_unit(installed[kind] / "openvino-reranker-worker.service")["Service"]
    assert {int(status) for status in worker["RestartPreventExitStatus"].split()} == PERMANENT | {2}
    assert float(worker["WatchdogSec"]) == DEFAULT_TIMEOUTS.watchdog
    broker = read_unit(installed[kind] / "openvino-reranker-broker.service")["Service"]
    assert int(broker["LimitNOFILE"]) > 2 * MAX_CONNECTIONS + 100


def test_the_worker_alone_reaches_the_device_and_only_its_own(installed: dict[str, Path]) -> None:
    for kind, files in (("system", "char-accel rw"), ("system CPU", None), ("system GPU", "char-drm rw")):
        for service in SERVICES:
            unit = read_unit(installed[kind] / f"openvino-reranker-{service}.service")["Service"]
            assert unit["DevicePolicy"] == "closed"
            reaches = files if service == "worker" else None
            assert unit.get("DeviceAllow") == reaches
            assert unit.get("SupplementaryGroups") == ("render" if reaches else None)
            assert unit.get("PrivateDevices") == (None if reaches else "yes")


def test_sysusers_makes_the_user(installed: dict[str, Path], analyze: str) -> None:
    made = subprocess.run(
        [
            analyze.replace("systemd-analyze", "systemd-sysusers"),
            "--dry-run",
            str(installed["system"].parents[1] / "sysusers.d/openvino-reranker.conf"),
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert "openvino-reranker" in made.stdout + made.stderr


def test_templates_are_part_of_the_package() -> None:
    """An installed package has what install-units reads."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["openvino_reranker"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    templates = set((ROOT / "systemd").glob("*/*"))
    assert len(templates) == 15
    assert templates <= packed
