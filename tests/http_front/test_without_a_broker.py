"""The front alone: alive, not ready, and clear about it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.tests.processes import Program


@pytest.fixture
def front(runtime: Path) -> Iterator[str]:
    with Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as program:
        line = program.wait_for_line("listening on")
        port = line.rsplit(" ", 1)[1]
        yield f"http://127.0.0.1:{port}"
        assert program.stop() == 0


def test_it_is_alive_but_not_ready_and_refuses_with_503(front: str) -> None:
    assert httpx.get(front + "/healthz").status_code == 200
    ready = httpx.get(front + "/readyz")
    assert ready.status_code == 503
    assert ready.json()["ready"] is False
    assert "openvino-reranker serve" in ready.json()["reason"]
    answer = httpx.post(front + "/rerank", json={"query": "q", "documents": ["d"]})
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "unavailable"


def test_with_a_broker_and_no_worker_it_waits_and_then_says_503(runtime: Path) -> None:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime), "OPENVINO_RERANKER_TIMEOUT": "0.5"}
    with Program("broker", **settings) as broker, Program("http", "--port", "0", **settings) as program:
        broker.wait_for_line("listening on")
        url = "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]
        answer = httpx.post(url + "/rerank", json={"query": "q", "documents": ["d"]})
        assert answer.status_code == 503
        assert "no worker is ready" in answer.json()["message"]
        assert httpx.get(url + "/readyz").json()["reason"].startswith("no worker is ready")
