"""A bench in trouble: a caller that dies and an answer that is none count, and the exit status says so."""

import json
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openvino_reranker.bench.run import Group, Seen, run_load
from openvino_reranker.bench.target import Target
from openvino_reranker.bench.texts import Workload
from openvino_reranker.tests.processes import Program, Run, Service

STATUS = {
    "ready": True,
    "reason": "ready",
    "worker": {"model": "m", "device": "CPU", "precision": "f32"},
    "counters": dict.fromkeys(
        ("pairs", "cached_pairs", "batches", "batch_pairs", "batch_callers", "tokens", "padded_tokens"), 0
    ),
    "pids": {},
}
SCORES = {
    "results": [{"index": 0, "score": 1.0, "relevance_score": 0.7}],
    "model": "m",
    "device": "CPU",
    "timings_ms": {"queue": 1, "inference": 1, "total": 3},
    "usage": {"total_tokens": 5},
}

#: What to send to the n-th POST, from the status line on; None to hang up.
Answer = Callable[[int], bytes | None]


def as_http(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)) + body


@contextmanager
def http_service(answer: Answer, ready: bytes = as_http(json.dumps(STATUS).encode())) -> Iterator[str]:
    """An HTTP front that says ``ready`` to every GET, and answers POSTs as told."""
    lock = threading.Lock()
    posts = 0

    class Front(BaseHTTPRequestHandler):
        def log_message(self, format: str, *_: object) -> None:  # noqa: A002  (its name in the base class)
            pass

        def do_GET(self) -> None:
            self.wfile.write(ready)

        def do_POST(self) -> None:
            nonlocal posts
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                posts += 1
                told = answer(posts)
            if told is not None:
                self.wfile.write(told)

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


GOOD = as_http(json.dumps(SCORES).encode())


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (None, "unavailable"),
        (b"not HTTP at all\r\n\r\n", "unavailable"),
        (as_http(b"<html>"), "unavailable"),
        (as_http(b"<html>", "502 Bad Gateway"), "unavailable"),
        (as_http(b"<html>", "500 Oh"), "failed"),
        (as_http(b'{"ok": true}'), "unavailable"),
        (as_http(b"[]"), "unavailable"),
    ],
    ids=["hangs-up", "no-http", "no-json", "a-gateway", "an-error-page", "no-scores", "no-object"],
)
def test_a_service_that_breaks_is_an_error_each_time(run: Run, bad: bytes | None, error: str) -> None:
    with http_service(lambda number: GOOD if number <= 3 else bad) as url:
        done = run("bench", "--url", url, "--mix", "1x3", "--requests", "5", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["requests"] == 5
    assert report["errors"] == {error: 3}


def test_a_front_that_speaks_no_http_is_not_there(run: Run) -> None:
    with http_service(lambda _: GOOD, b"not HTTP at all\r\n\r\n") as url:
        done = run("bench", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"openvino-reranker: cannot reach {url}")


def test_what_is_not_the_service_is_named(run: Run) -> None:
    with http_service(lambda _: GOOD, as_http(b"<html>")) as url:
        done = run("bench", "--url", url)
    assert done.returncode == 1
    assert done.stderr == f"openvino-reranker: what answers at {url} is not the rerank service\n"
    assert "is not an http URL" in run("bench", "--url", "127.0.0.1:18818").stderr


def test_a_service_that_asks_for_a_key_is_measured_with_one(service: Service, run: Run) -> None:
    key = {"OPENVINO_RERANKER_API_KEY": "sesame"}
    with Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(service.runtime), **key) as front:
        url = f"http://127.0.0.1:{front.wait_for_line('listening on').rsplit(' ', 1)[1]}"
        command = ("bench", "--url", url, "--mix", "1x1", "--requests", "1")
        done = run(*command)
        assert done.returncode == 1
        assert done.stderr == f"openvino-reranker: {url} asks for an API key: set OPENVINO_RERANKER_API_KEY to one\n"
        assert run(*command, **key).returncode == 0
        assert run("smoke", "--url", url, **key).returncode == 0


def test_what_a_caller_that_died_did_not_ask_is_lost(service: Service) -> None:
    seen: list[Seen] = []

    def kill_one(answer: Seen) -> None:
        seen.append(answer)
        if len(seen) == 3:
            multiprocessing.active_children()[0].kill()

    run_load(Target(socket=service.socket), [Group(2, 1)], Workload(), range(20), kill_one)
    errors = Counter(each.answer.error for each in seen)
    assert errors.total() == 40
    assert set(errors) == {None, "lost"}
    assert 10 < errors["lost"] <= 20


def test_a_caller_that_dies_before_the_start_is_lost() -> None:
    def kill_one(number: int) -> bytes:
        if number == 1:
            multiprocessing.active_children()[0].kill()
        return GOOD

    seen: list[Seen] = []
    with http_service(kill_one) as url:
        run_load(Target(url=url), [Group(3, 2)], Workload(), range(4), seen.append)
    assert Counter(each.answer.error for each in seen) == {None: 8, "lost": 4}
