"""The receiving end of sd_notify(3) understands the sending one, and knows who spoke."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from openvino_reranker.daemon.notify import Notifier
from openvino_reranker.daemon.notify_socket import NotifySocket
from openvino_reranker.tests.processes import clean_environment


def test_reports_arrive_with_their_senders_pid(runtime: Path) -> None:
    path = runtime / "notify.sock"
    path.write_text("left behind")
    with NotifySocket(path) as reports:
        environment = reports.environment(15.0)
        notifier = Notifier.from_environment(dict(environment))
        assert notifier.watchdog_s == 15.0
        notifier.ready("all = well")
        notifier.watchdog()
        assert reports.read() == [
            (os.getpid(), {"READY": "1", "STATUS": "all = well"}),
            (os.getpid(), {"WATCHDOG": "1"}),
        ]
        assert reports.read() == []
        code = "from openvino_reranker.daemon.notify import Notifier; Notifier.from_environment().stopping('bye')"
        child = subprocess.Popen([sys.executable, "-c", code], env=clean_environment(**environment))
        assert child.wait() == 0
        assert reports.read() == [(child.pid, {"STOPPING": "1", "STATUS": "bye"})]
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"nonsense\n\n=\n", b"x" * 10_000])
def test_garbage_is_no_report(runtime: Path, data: bytes) -> None:
    with NotifySocket(runtime / "notify.sock") as reports, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, str(runtime / "notify.sock"))
        (message,) = reports.read()
        assert message[0] == os.getpid()
        assert not message[1].keys() & {"READY", "WATCHDOG", "STOPPING"}
