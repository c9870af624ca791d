"""The simulated NPU says in every answer, page and line that it is one."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.npu_worker.conftest import environment
from openvino_reranker.tests.simulated_npu import NAME


def ask(url: str, body: dict[str, Any] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as answer:
        return str(answer.read().decode())


def test_everything_it_says_says_that_it_is_a_simulation(tiny: ReadyModel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "openvino_reranker.tests.simulated_npu", "--port", str(port)]
    command += ["--model-dir", str(tiny.folder), "--buckets", "32,64"]
    simulation = subprocess.Popen(command, env=environment(), text=True, stdout=subprocess.PIPE)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 90
    try:
        while True:
            try:
                page = ask(f"{url}/readyz")
                break
            except (OSError, urllib.error.HTTPError):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        answer = json.loads(ask(f"{url}/rerank", {"query": "people", "documents": ["berlin", "live"]}))
        assert answer["device"] == NAME
        assert answer["npu_busy_delta_us"] > 0
        assert NAME in page
        assert NAME in ask(f"{url}/metrics")
    finally:
        simulation.send_signal(signal.SIGTERM)
        printed, _ = simulation.communicate(timeout=40)
    assert simulation.returncode == 0
    lines = printed.splitlines()
    assert all(line.startswith(f"[{NAME}] ") for line in lines)
    for component in ("broker", "http", "worker"):
        assert any(f" {component} " in line for line in lines), component
