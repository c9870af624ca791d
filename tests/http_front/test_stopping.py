"""A front that stops answers what it owes, and says so to the rest."""

import signal
import socket
import threading
import time
from pathlib import Path

import httpx
from openvino_reranker.http_front.server import DRAIN_S
from openvino_reranker.tests.processes import Program, with_constants

BODY = {"query": "q", "documents": ["d"]}


def start(runtime: Path, drain_s: int = DRAIN_S) -> tuple[Program, Program, str]:
    """A broker without a worker, so that requests wait, and a front."""
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    broker = Program("broker", **settings)
    broker.wait_for_line("listening on")
    front = Program("http", "--port", "0", **settings, **with_constants("http_front.server", DRAIN_S=drain_s))
    return broker, front, "http://127.0.0.1:" + front.wait_for_line("listening on").rsplit(" ", 1)[1]


def wait_for_requests(url: str, count: int) -> None:
    while httpx.get(url + "/readyz").json()["queue"]["requests"] != count:
        time.sleep(0.02)  # the test's own time limit ends this


def test_what_is_not_done_in_time_is_answered_with_503_and_no_traceback(runtime: Path) -> None:
    broker, front, url = start(runtime, drain_s=3)
    with broker, front:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url + "/rerank", json=BODY, timeout=30)))
        asking.start()
        wait_for_requests(url, 1)
        started = time.monotonic()
        assert front.stop() == 0
        assert 3 - 1.5 < time.monotonic() - started < 3 + 3
        asking.join()
        [answer] = answers
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "unavailable"
        assert "was stopped" in answer.json()["message"]
        assert "Traceback" not in front.output


def test_it_does_not_wait_for_a_broker_that_is_gone_too(runtime: Path) -> None:
    broker, front, url = start(runtime)
    with broker, front:
        answers: list[tuple[float, httpx.Response]] = []

        def ask() -> None:
            answer = httpx.post(url + "/rerank", json=BODY, timeout=30)
            answers.append((time.monotonic(), answer))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for_requests(url, 1)
        broker.process.kill()
        stopped = time.monotonic()
        front.process.send_signal(signal.SIGTERM)
        asking.join()
        [(answered, answer)] = answers
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "unavailable"
        assert answered - stopped < 1


def test_a_second_signal_ends_it_at_once(runtime: Path) -> None:
    broker, front, url = start(runtime)
    with broker, front:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as stalled:
            stalled.sendall(b"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n")
            assert httpx.get(url + "/healthz").status_code == 200
            started = time.monotonic()
            front.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert front.process.poll() is None
            assert front.stop(signal.SIGTERM) == 0
            assert time.monotonic() - started < DRAIN_S / 2
            assert "Traceback" not in front.output
