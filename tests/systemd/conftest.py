"""What these tests share: systemd's tools, a stand-in for its notification socket, a tiny worker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openvino_reranker.tests.processes import tool
from openvino_reranker.tests.systemd.manager import NotifySocket
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker


@pytest.fixture(scope="session")
def socket_activate() -> str:
    return tool("systemd-socket-activate", "systemd")


@pytest.fixture(scope="session")
def analyze() -> str:
    return tool("systemd-analyze", "systemd")


@pytest.fixture(params=["path", "abstract"])
def any_notify_socket(request: pytest.FixtureRequest, runtime: Path) -> Iterator[NotifySocket]:
    address = str(runtime / "notify") if request.param == "path" else f"@{runtime}/notify"
    with NotifySocket(address) as opened:
        yield opened


@pytest.fixture
def start_worker(runtime: Path) -> Iterator[Callable[..., TinyWorker]]:
    """Start a tiny worker on the runtime folder's socket; ended with the test."""
    started: list[TinyWorker] = []

    def start(seconds_per_batch: float = 0.0) -> TinyWorker:
        started.append(TinyWorker(runtime / "workers.sock", seconds_per_batch))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()
