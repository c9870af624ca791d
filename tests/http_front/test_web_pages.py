"""The pages for people, over HTTP: what they are made of, who gets JSON instead, and one stream of the status."""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.http_front.status_feed import STREAMS
from openvino_reranker.protocol.client_messages import Hello, Welcome
from openvino_reranker.protocol.limits import DEFAULT_LIMITS
from openvino_reranker.protocol.status_messages import GetStatus, QueueStatus, Status, WorkerStatus
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.processes import Program, RuntimeFolder

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
COUNTERS = (
    "answered",
    "queue_ms",
    "batches",
    "batch_pairs",
    "batch_callers",
    "tokens",
    "padded_tokens",
    "inference_ms",
)


def start_front(runtime: Path, **extra: str) -> Program:
    return Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime), **extra)


def address(program: Program) -> str:
    return "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A front without a broker: what the pages are made of does not wait for one."""
    with RuntimeFolder() as runtime, start_front(runtime) as program:
        yield address(program)


@contextlib.contextmanager
def start_broker_and_front(runtime: Path, **extra: str) -> Iterator[str]:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with Program("broker", **settings) as broker, start_front(runtime, **extra) as front:
        broker.wait_for_line("listening on")
        yield address(front)


def open_stream(url: str, headers: str = "") -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(f"GET /status/events HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
    return connection


def head_of(connection: socket.socket) -> str:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(1)
    return got.decode()


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_browser_gets_a_page_that_runs_nothing_from_elsewhere(url: str, path: str) -> None:
    page = httpx.get(url + path, headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "data:" not in policy
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert names
    assert all(name.startswith(("/", "#")) and not name.startswith("//") for name in names)
    assert not re.search(r"<style|style=|<script>|\son\w+=", page.text)
    for name in names:
        if name.startswith("/pages/"):
            file = httpx.get(url + name)
            assert file.status_code == 200, name
            assert file.headers["x-content-type-options"] == "nosniff"
            assert "content-security-policy" in file.headers


def test_both_pages_with_all_they_are_made_of_are_light(url: str) -> None:
    folder = Path(__file__).parents[2] / "http_front" / "pages"
    assert sum(len(httpx.get(f"{url}/pages/{path.name}").content) for path in folder.iterdir()) < 100_000


@pytest.mark.parametrize("name", ["app.py", "..%2fapp.py", "%2e%2e/app.py", "", "try.html/", "nothing.js"])
def test_nothing_else_is_served(url: str, name: str) -> None:
    answer = httpx.get(f"{url}/pages/{name}", headers=BROWSER)
    assert answer.status_code == (200 if name == "try.html/" else 404)
    assert "import asyncio" not in answer.text


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_a_program_gets_an_index_of_what_there_is(url: str, accept: str) -> None:
    answer = httpx.get(url + "/", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    endpoints = answer.json()["endpoints"]
    assert {"method": "POST", "path": "/v1/rerank", "summary": "Rerank documents"} in endpoints
    for endpoint in endpoints:
        path = endpoint["path"].replace("{name}", "any")
        method = "HEAD" if path == "/status/events" else endpoint["method"]
        assert httpx.request(method, url + path).status_code not in (404, 405), endpoint


def test_the_head_of_the_stream_can_be_asked_for(url: str) -> None:
    answer = httpx.head(url + "/status/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_status_is_there_as_json_too(runtime: Path) -> None:
    with start_broker_and_front(runtime) as url:
        status = httpx.get(url + "/status").json()
        assert status["ready"] is False
        assert "no worker is ready" in status["reason"]
        assert status["counters"]["requests"] == 0
        assert status["processes"]["broker"]["bytes"] > 1_000_000
        assert status["processes"]["worker"] == {"pid": None, "bytes": None}
    with start_front(runtime) as front:
        assert httpx.get(address(front) + "/status").status_code == 503  # there is no broker


def test_fifty_tabs_cost_the_broker_a_status_a_second_and_closed_ones_none(runtime: Path) -> None:
    with FakeBroker(runtime / "requests.sock") as broker, start_front(runtime) as front:
        url = address(front)
        tabs = [open_stream(url) for _ in range(50)]
        began = time.monotonic()

        def serve(seconds: float) -> int:
            """Answer for so long; return how often the status was asked."""
            asked = 0
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                try:
                    message = broker.receive(round(left * 1000))
                except AssertionError:
                    break
                if isinstance(message, Hello):
                    broker.answer(Welcome("e", "0", DEFAULT_LIMITS))
                elif isinstance(message, GetStatus):
                    asked += 1
                    uptime = time.monotonic() - began
                    broker.answer(
                        Status(
                            message.id,
                            "e",
                            1,
                            uptime,
                            True,
                            "ready",
                            QueueStatus(),
                            WorkerStatus(),
                            {},
                            dict.fromkeys(COUNTERS, 0),
                            DEFAULT_LIMITS,
                        )
                    )
            return asked

        assert 3 <= serve(4.0) <= 6  # and the one with which the front introduces itself
        for tab in tabs:
            tab.setblocking(False)
            assert tab.recv(1 << 20).count(b"event: status") >= 3
            tab.close()
        serve(1.5)
        assert serve(2.5) == 0


def test_a_tab_that_goes_away_frees_its_place_and_one_too_many_is_told(runtime: Path) -> None:
    with start_front(runtime) as front, contextlib.ExitStack() as stack:
        url = address(front)
        tabs = [stack.enter_context(open_stream(url)) for _ in range(STREAMS)]
        assert all(" 200 " in head_of(tab) for tab in tabs)
        refused = httpx.get(url + "/status/events")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "5"
        assert "status pages are open" in refused.json()["message"]
        assert httpx.get(url + "/healthz").status_code == 200
        tabs[0].close()
        tabs[1].shutdown(socket.SHUT_RDWR)
        for _ in range(2):
            while " 200 " not in head_of(tab := stack.enter_context(open_stream(url))):
                tab.close()
                time.sleep(0.05)  # the test's own time limit ends this
        assert httpx.get(url + "/status/events").status_code == 429


def test_open_tabs_do_not_hold_up_the_end(runtime: Path) -> None:
    with start_front(runtime) as front:
        url = address(front)
        tabs = [open_stream(url) for _ in range(4)]
        for tab in tabs:
            head_of(tab)
        began = time.monotonic()
        assert front.stop() == 0
        assert time.monotonic() - began < 4  # and not the 10 s it gives those whose answers it owes
        for tab in tabs:
            rest = b""
            while more := tab.recv(1 << 16):
                rest += more
            assert rest.endswith(b"0\r\n\r\n")  # ended, not cut
            tab.close()
        assert "Traceback" not in front.output


def test_with_an_api_key_the_pages_are_open_and_what_they_show_is_not(runtime: Path) -> None:
    with start_broker_and_front(runtime, OPENVINO_RERANKER_API_KEY="secret") as url:
        assert httpx.get(url + "/", headers=BROWSER).status_code == 200
        assert httpx.get(url + "/status", headers=BROWSER).status_code == 200
        assert httpx.get(url + "/pages/page.css").status_code == 200
        refused = httpx.get(url + "/status/events")
        assert refused.status_code == 401
        assert "API key is needed" in refused.json()["message"]
        assert set(httpx.get(url + "/status").json()) == {"ready", "reason"}
        key = {"Authorization": "Bearer secret"}
        assert "counters" in httpx.get(url + "/status", headers=key).json()
        with open_stream(url, "X-API-Key: secret\r\n") as tab:
            assert " 200 " in head_of(tab)


def test_events_are_what_status_says(runtime: Path) -> None:
    with start_broker_and_front(runtime) as url, httpx.stream("GET", url + "/status/events", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: history"
        assert json.loads(next(lines).removeprefix("data: ")) == []
        assert [next(lines), next(lines)] == ["", "event: status"]
        event = json.loads(next(lines).removeprefix("data: "))
        assert set(httpx.get(url + "/status").json()) == set(event) - {"at", "sample"}
        assert event["pids"]["http"] in event["peers"]["http_front"]
        assert os.getpid() not in event["pids"].values()
