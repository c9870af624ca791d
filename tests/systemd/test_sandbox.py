"""The services do their work under the system call filter, the address families and the memory rule of their units."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import clean_environment
from openvino_reranker.tests.systemd.installing import install_units
from openvino_reranker.tests.systemd.manager import NotifySocket, start_with_sockets, unix_listener
from openvino_reranker.tests.systemd.sandbox import allowed, read_values

SANDBOX = Path(__file__).with_name("sandbox.py")

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    install_units(root, "--system", "--root", str(root), "--device", "CPU")
    return root / "etc/systemd/system"


@pytest.fixture
def start(analyze: str, units: Path, runtime: Path) -> Iterator[Start]:
    """Start a component as its unit would, with sockets of ours."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        reason = "libseccomp is missing; it is in the Debian package libseccomp2"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    started: list[subprocess.Popen[bytes]] = []

    def program(name: str, sockets: dict[str, socket.socket], **extra: str) -> "subprocess.Popen[bytes]":
        unit = str(units / f"openvino-reranker-{name}.service")
        ours = (sys.executable, "-P", "-m", "openvino_reranker", name, "--runtime-dir", str(runtime))
        if sockets:
            started.append(start_with_sockets(sockets, str(SANDBOX), analyze, unit, *ours, environment=extra))
        else:
            command = [sys.executable, str(SANDBOX), analyze, unit, *ours]
            started.append(subprocess.Popen(command, env=clean_environment(**extra)))
        return started[-1]

    yield program
    for each in started:
        if each.poll() is None:
            each.kill()
            each.wait()


def test_a_request_is_served_by_three_sandboxed_processes(
    start: Start, runtime: Path, tiny: ReadyModel, notify_socket: NotifySocket
) -> None:
    with (
        unix_listener(runtime / "requests.sock") as requests,
        unix_listener(runtime / "workers.sock") as workers,
        socket.create_server(("127.0.0.1", 0)) as http,
    ):
        model = {"OPENVINO_RERANKER_MODEL_DIR": str(tiny.folder), "OPENVINO_RERANKER_DEVICE": "CPU"}
        running = [
            start("broker", {"requests": requests, "workers": workers}, **notify_socket.environment(20)),
            start("worker", {}, **model, **notify_socket.environment(20)),
            start("http", {"http": http}, **notify_socket.environment(20)),
        ]
        with Reranker(runtime / "requests.sock") as reranker:
            assert len(reranker.rerank("q", ["a", "b"], timeout=60).hits) == 2
        url = f"http://127.0.0.1:{http.getsockname()[1]}/rerank"
        assert httpx.post(url, json={"query": "q", "documents": ["a", "b"]}, timeout=60).status_code == 200
        for each in running:
            filtered = Path(f"/proc/{each.pid}/status").read_text()
            assert "\nSeccomp:\t2\n" in filtered
            assert "\nNoNewPrivs:\t1\n" in filtered
        for each in running:
            each.send_signal(signal.SIGTERM)
        assert [each.wait(20) for each in running] == [0, 0, 0]
        notify_socket.wait_for("STOPPING=1")
        assert notify_socket.said.count("READY=1") == 3


def test_user_units_have_the_same_filters(analyze: str, units: Path, tmp_path: Path) -> None:
    install_units(tmp_path)
    for name in ("broker", "worker", "http"):
        file = f"openvino-reranker-{name}.service"
        system, user = units / file, tmp_path / ".config/systemd/user" / file
        for key in ("SystemCallFilter", "MemoryDenyWriteExecute", "NoNewPrivileges"):
            assert read_values(system, key) == read_values(user, key)
        netlink = " AF_NETLINK" if name == "http" else ""  # the user's front asks whose connections are
        assert read_values(system, "RestrictAddressFamilies") == ["AF_UNIX"]
        assert read_values(user, "RestrictAddressFamilies") == ["AF_UNIX" + netlink]
        calls = allowed(analyze, system)
        assert {"read", "sendmsg", "accept4"} <= calls
        assert not calls & {"mount", "ptrace", "bpf", "reboot", "init_module", "setuid"}
