"""The page that shows what the service does, in a real browser: live, through starts, restarts and losses."""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from openvino_reranker.http_front.status_feed import STREAMS
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.codec import encode
from openvino_reranker.protocol.message import Message
from openvino_reranker.protocol.worker_messages import WorkerHello, WorkerStarting, WorkerState
from openvino_reranker.tests.browser.conftest import Visit, violations
from openvino_reranker.tests.processes import Program, QuickService, Service
from playwright.sync_api import Page, expect

LINE = re.compile("^M.*L")
PHONE = {"width": 360, "height": 780}


def figure(page: Page, term: str) -> str:
    """Return what stands beside a term."""
    return page.locator("dl > div", has=page.get_by_text(term, exact=True)).locator("dd").inner_text()


def value(page: Page, title: str) -> str:
    return page.locator(".chart", has_text=title).locator(".value").inner_text()


class Worker:
    """A worker that says to the broker what a test wants it to."""

    def __init__(self, runtime: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(f"ipc://{runtime / 'workers.sock'}")

    def say(self, message: Message) -> None:
        self._socket.send_multipart(encode(message))

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


@pytest.fixture
def broker_and_front(runtime: Path) -> Iterator[tuple[Program, str]]:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with Program("broker", **settings) as broker, Program("http", "--port", "0", **settings) as front:
        broker.wait_for_line("listening on")
        yield front, "http://127.0.0.1:" + front.wait_for_line("listening on").rsplit(" ", 1)[1]


def test_what_is_done_shows_within_seconds(visit: Visit, service: Service) -> None:
    page = visit(service.url + "/status")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready")
    expect(page.locator("#reason")).to_have_text("packaged:ms-marco-MiniLM-L-12-v2 on CPU, f32.")
    before = service.status().counters["requests"]
    for number in range(3):
        assert service.post({"query": f"q {os.urandom(4).hex()}", "documents": [f"d {number}", "e"]}).status_code == 200
    expect(page.locator("#served div").first).to_have_text(f"Requests{before + 3:,.0f}")
    expect(page.locator("#callers tbody tr", has_text=f"pid {os.getpid()}").locator("td").first).to_contain_text("%")
    expect(page.locator(".chart .line").first).to_have_attribute("d", LINE)
    assert float(value(page, "Callers per batch").replace("–", "1")) >= 1
    label = page.locator(".chart", has_text="Pairs per second").locator("svg").get_attribute("aria-label")
    assert label is not None
    assert label.startswith("Pairs per second: ")
    assert "highest" in label
    for name, pid in service.status().pids().items():
        row = page.locator("#processes tbody tr", has_text={"http": "HTTP front"}.get(name, name))
        expect(row).to_contain_text(str(pid))
        expect(row).to_contain_text("MB")


def test_pointing_at_a_chart_shows_what_was_then(visit: Visit, service: Service) -> None:
    page = visit(service.url + "/status")
    expect(page.locator(".chart .line").first).to_have_attribute("d", LINE)
    page.locator(".chart svg").first.hover()
    expect(page.locator(".chart .hint").first).to_have_text("150 s ago")
    expect(page.locator(".chart .hint").last).to_have_text("150 s ago")
    page.locator("h1").hover()
    expect(page.locator(".chart .hint").first).not_to_contain_text("ago")


def test_a_start_is_followed_from_compiling_to_ready(
    visit: Visit, broker_and_front: tuple[Program, str], runtime: Path
) -> None:
    _, url = broker_and_front
    page = visit(url + "/status", may_fail=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not ready")
    expect(page.locator("#reason")).to_contain_text("no worker is ready")
    worker = Worker(runtime)
    worker.say(WorkerStarting(77, "compiling 3/7 (128 tokens)"))
    expect(page.locator("#reason")).to_contain_text("compiling 3/7 (128 tokens)")
    assert page.get_by_role("progressbar").evaluate("bar => [bar.value, bar.max]") == [2, 7]
    assert violations(page) == ""
    details: dict[str, Any] = {"compile": "compiling 5/7", "npu_occupied_share": 0.25}
    worker.say(WorkerHello(77, "org/model", "NPU", "f16", 512, 8192, details=details))
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready")
    expect(page.locator("#reason")).to_contain_text("org/model on NPU, f16. Compiling bucket 5 of 7")
    expect(page.locator("#state")).to_contain_text("model on NPU")
    page.get_by_text("What the worker says of its device").click()
    expect(page.get_by_text('"npu_occupied_share": 0.25')).to_be_visible()
    worker.say(WorkerState(details | {"compile": "done"}))
    expect(page.get_by_role("progressbar")).to_have_count(0)
    worker.close()  # which the broker takes for the end of its process
    expect(page.get_by_role("heading", level=1)).to_have_text("Not ready")
    assert figure(page, "Workers lost") == "1"
    assert figure(page, "process ended") == "1"


def _kill(pid: int | None) -> None:
    assert pid  # 0 would be every process of the test run
    os.kill(pid, signal.SIGKILL)


def test_a_killed_broker_and_a_killed_front_are_told_and_lived_through(
    visit: Visit, tiny: ReadyModel, runtime: Path
) -> None:
    with QuickService(runtime, tiny.folder) as service:
        page = visit(service.url + "/status", may_fail=True)
        expect(page.get_by_role("heading", level=1)).to_have_text("Ready")
        pids = service.status().pids()
        for name in ("broker", "http"):
            _kill(pids[name])
            expect(page.locator("#processes")).not_to_contain_text(str(pids[name]), timeout=30_000)
            expect(page.get_by_role("heading", level=1)).to_have_text("Ready", timeout=30_000)
        _kill(pids["worker"])
        expect(page.locator("#errors div", has_text="process ended")).to_have_text("process ended1")
    expect(page.get_by_role("heading", level=1)).to_have_text("No connection")
    expect(page.locator("#state")).to_contain_text("no connection")


def test_a_hidden_tab_holds_no_connection(visit: Visit, service: Service) -> None:
    page = visit(service.url + "/status")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready")

    def show(visible: bool) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            not visible,
        )

    with page.expect_event("requestfailed", lambda request: request.url.endswith("/status/events")):
        show(visible=False)
    with page.expect_event("response", lambda response: response.url.endswith("/status/events")):
        show(visible=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ready")


def test_one_tab_too_many_says_so_and_comes_in_when_there_is_room(
    visit: Visit, broker_and_front: tuple[Program, str]
) -> None:
    _, url = broker_and_front
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(STREAMS):
            tab = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            tab.sendall(f"GET /status/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert tab.recv(12) == b"HTTP/1.1 200"
        page = visit(url + "/status", may_fail=True)
        expect(page.locator("#reason")).to_contain_text(f"{STREAMS} status pages are open")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not ready", timeout=20_000)


def test_it_can_be_seen_and_heard_by_everybody(visit: Visit, service: Service) -> None:
    page = visit(service.url + "/status")
    expect(page.locator("#state")).to_contain_text("ready")
    expect(page.locator(".chart .line").first).to_have_attribute("d", LINE)
    drawn = page.locator(".chart .line").first.get_attribute("d")
    page.evaluate(
        "window.told = 0; new MutationObserver((changes) => { window.told += changes.length; })"
        ".observe(document.querySelector('#state'), {childList: true, subtree: true, characterData: true})"
    )
    assert violations(page) == ""
    expect(page.locator(".chart .line").first).not_to_have_attribute("d", drawn or "")
    assert page.evaluate("window.told") == 0  # what a screen reader reads out: changes of the state alone


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit: Visit, service: Service) -> None:
    assert service.post({"query": "q", "documents": ["d"]}).status_code == 200
    page = visit(service.url + "/status", viewport=PHONE, is_mobile=True, has_touch=True)
    expect(page.locator("#callers tbody tr").first).to_contain_text("%")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
