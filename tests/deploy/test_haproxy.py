"""The shipped HAProxy file in front of two real services: who is lost with a node (nobody), and what is repeated."""

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.deploy.haproxy import BUFFER, SHIPPED, HAProxy, free_port
from openvino_reranker.tests.processes import RuntimeFolder, Service, tool

CALLERS = 6


@pytest.fixture(scope="module")
def haproxy() -> str:
    return tool("haproxy", "haproxy")


@dataclass
class Cluster:
    url: str
    proxy: HAProxy
    nodes: list[Service]

    def pids(self, node: int) -> list[int]:
        """All processes of a node, ``serve`` first."""
        return [self.nodes[node].process.pid, *httpx.get(self.nodes[node].url + "/readyz").json()["pids"].values()]


@contextmanager
def cluster(haproxy: str, model: ReadyModel, folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        services = [Service(stack.enter_context(RuntimeFolder()), model.folder) for _ in range(2)]
        nodes = [stack.enter_context(service) for service in services]
        proxy = stack.enter_context(HAProxy(haproxy, folder, [node.url.removeprefix("http://") for node in nodes]))
        wait_until(lambda: asks(proxy.url))
        yield Cluster(proxy.url, proxy, nodes)


def asks(url: str) -> bool:
    try:
        return httpx.get(url + "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def pair(haproxy: str, tiny: ReadyModel, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes that may be killed."""
    with cluster(haproxy, tiny, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def whole(haproxy: str, tiny: ReadyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes that a test leaves as they were."""
    with cluster(haproxy, tiny, tmp_path_factory.mktemp("haproxy")) as made:
        yield made


@dataclass
class Load:
    """Callers that ask without pause, each on its own connection; what they were answered."""

    url: str
    statuses: list[int | str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def call(self, caller: int) -> None:
        number = 0
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                number += 1
                documents = [f"{caller} {number} {place} " + "word " * 40 for place in range(40)]
                body: dict[str, Any] = {"query": f"q{number}", "documents": documents}
                if number % 3 == 2:  # one in three is nearly as long as the buffer, in what nobody reads
                    body["note"] = "x" * (BUFFER - 50_000)
                try:
                    answer = client.post(self.url + "/rerank", json=body)
                except httpx.TransportError as error:
                    self.statuses.append(repr(error))
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code != 200 or sorted(result["index"] for result in answer.json()["results"]) != list(
                    range(40)
                ):
                    self.wrong.append(answer.text)

    @contextmanager
    def under_way(self) -> Iterator["Load"]:
        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(self.call, caller) for caller in range(CALLERS)]
            try:
                yield self
            finally:
                self._stop.set()
            for call in calls:
                call.result()

    def wait_for_more(self, more: int, seconds: float = 60) -> None:
        wanted = len(self.statuses) + more
        wait_until(lambda: len(self.statuses) >= wanted, seconds)


def crash(pair: Cluster) -> None:
    """As when the power fails: nothing of the node says a last word."""
    for pid in pair.pids(0):
        os.kill(pid, signal.SIGKILL)


def terminate(pair: Cluster) -> None:
    pair.nodes[0].process.send_signal(signal.SIGTERM)


def freeze(pair: Cluster) -> None:
    for pid in pair.pids(0):
        os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("end", [crash, terminate, freeze])
def test_with_a_node_no_request_is_lost(pair: Cluster, end: Callable[[Cluster], None]) -> None:
    node = pair.nodes[0]
    pids = pair.pids(0)
    with Load(pair.url).under_way() as load:
        load.wait_for_more(2 * CALLERS)
        wait_until(lambda: node.status().queue.requests > 1)  # it is ended under load
        end(pair)
        if end is freeze:
            wait_until(lambda: "node1 is DOWN" in pair.proxy.log)
        load.wait_for_more(3 * CALLERS)  # each caller had one under way, and has asked for a large one anew
    if end is freeze:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert set(load.statuses) == {200}, load.wrong
    assert not load.wrong
    # The proxy had sent some of them to the node that ended: they were sent again (+ before the count of retries).
    if end is crash:
        assert [line for line in pair.proxy.log.splitlines() if "/+" in line.split('"')[0]], pair.proxy.log


def test_a_body_over_the_buffer_is_answered_too(whole: Cluster) -> None:
    documents = [f"{place} " + "word " * 100 for place in range(1000)]
    documents[0] += "x" * (BUFFER - 2 * 1000)
    body = json.dumps({"query": "q", "documents": documents}).encode()
    assert len(body) > 1.3 * BUFFER
    answer = httpx.post(whole.url + "/rerank", content=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 1000


def test_a_caller_that_leaves_takes_its_request_along(whole: Cluster) -> None:
    def cancelled() -> int:
        return int(sum(node.status().counters["cancelled_requests"] for node in whole.nodes))

    before = cancelled()
    body = json.dumps({"query": "gone", "documents": [f"{place} " + "word " * 150 for place in range(1000)]}).encode()
    head = f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", whole.proxy.port)) as caller:
        caller.sendall(head + body)
        wait_until(lambda: any(node.status().queue.requests for node in whole.nodes))
    wait_until(lambda: cancelled() == before + 1, 5)
    assert not any(node.status().queue.requests for node in whole.nodes)


def test_a_foreign_host_is_refused_by_the_nodes(whole: Cluster) -> None:
    body = {"query": "q", "documents": ["d"]}
    assert httpx.post(whole.url + "/rerank", json=body).status_code == 200
    answer = httpx.post(whole.url + "/rerank", json=body, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["message"]
    assert "is DOWN" not in whole.proxy.log  # the checks have the right one


def test_without_the_right_host_a_check_would_find_nobody(whole: Cluster) -> None:
    assert "hdr Host localhost" in SHIPPED.read_text()
    answer = httpx.get(whole.nodes[0].url + "/readyz", headers={"Host": ""})
    assert answer.status_code == 403


def test_where_all_are_down_it_says_so_soon(haproxy: str, tmp_path: Path) -> None:
    nodes = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with HAProxy(haproxy, tmp_path, nodes) as proxy:
        wait_until(lambda: "no server available" in proxy.log)
        started = time.monotonic()
        answer = httpx.post(proxy.url + "/rerank", json={"query": "q", "documents": ["d"]}, timeout=30)
        assert answer.status_code == 503
        assert time.monotonic() - started < 1


class Node(http.server.ThreadingHTTPServer):
    """A node that answers every request in one way."""

    def __init__(self, status: int) -> None:
        self.status, self.requests = status, 0
        super().__init__(("127.0.0.1", 0), _Answering)


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Node)
        self.server.requests += 1
        self._answer(self.server.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  (its name in the base class)
        pass


@contextmanager
def answering(status: int) -> Iterator[Node]:
    with Node(status) as node:
        thread = threading.Thread(target=node.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield node
        finally:
            node.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "asked"), [(500, 1), (504, 1), (429, 1), (403, 1), (503, 4)])
def test_what_a_node_says_is_passed_on_and_only_503_asks_another(
    haproxy: str, tmp_path: Path, status: int, asked: int
) -> None:
    with answering(status) as first, answering(status) as second:
        nodes = [f"127.0.0.1:{node.server_address[1]}" for node in (first, second)]
        with HAProxy(haproxy, tmp_path, nodes) as proxy:
            wait_until(lambda: asks(proxy.url))
            answer = httpx.post(proxy.url + "/rerank", json={"query": "q", "documents": ["d"]}, timeout=30)
    assert answer.status_code == status
    assert first.requests + second.requests == asked
    assert status != 503 or min(first.requests, second.requests)
    assert status != 429 or answer.headers["Retry-After"] == "7"


def test_the_file_is_valid(haproxy: str) -> None:
    done = subprocess.run([haproxy, "-c", "-f", str(SHIPPED)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
