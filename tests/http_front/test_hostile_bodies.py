"""Bodies made to cost much: the front stays small, and answers others meanwhile."""

import gzip
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openvino_reranker.http_front.body_reader import BODY_BYTES
from openvino_reranker.tests.processes import Program, RuntimeFolder

AT_ONCE = 6
MOST_MB = 200
#: A pass over a whole body holds the interpreter for 0.1 s on an idle machine; one that runs tests is not idle.
MOST_S = 2.0


def filled(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """As many units as a body may have."""
    return head + unit * ((BODY_BYTES - len(head) - len(tail)) // len(unit)) + tail


#: Bodies, and the statuses they may be answered with where there is no broker.
BODIES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "arrays-unknown": (lambda: filled(b'{"x":[', b"[],", b'0],"query":"q","documents":["d"]}'), {503}),
    "objects-unknown": (lambda: filled(b'{"x":[', b'{"a":{}},', b'0],"query":"q","documents":["d"]}'), {503}),
    "numbers-unknown": (lambda: filled(b'{"x":[', b"1,", b'0],"query":"q","documents":["d"]}'), {503}),
    "keys-unknown": (lambda: filled(b"{", b'"a":1,', b'"query":"q","documents":["d"]}'), {503}),
    "arrays-as-documents": (lambda: filled(b'{"query":"q","documents":[', b"[],", b"0]}"), {413}),
    "empty-documents": (lambda: filled(b'{"query":"q","documents":[', b'"",', b'""]}'), {413}),
    "arrays-in-a-document": (lambda: filled(b'{"query":"q","documents":[{"text":"d","x":[', b"[],", b"0]}]}"), {413}),
    "arrays-as-an-option": (lambda: filled(b'{"query":"q","documents":["d"],"top_k":[', b"[],", b"0]}"), {400}),
    "a-wide-text": (lambda: filled(b'{"query":"q","documents":["\xf0\x9f\x8d\x9e', b"a", b'"]}'), {413}),
    "wide-texts": (
        lambda: (
            b'{"query":"q","documents":[' + b",".join([b'"\xf0\x9f\x8d\x9e' + b"a" * 1_000_000 + b'"'] * 16) + b"]}"
        ),
        {503},
    ),
    "escapes": (lambda: filled(b'{"query":"q","documents":["', rb"\u0041", b'"]}'), {413}),
    "deep": (lambda: b'{"query":"q","x":' + b"[" * 1_000_000, {400}),
}


@pytest.fixture(scope="module")
def front() -> Iterator[Program]:
    with (
        RuntimeFolder() as runtime,
        Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as program,
    ):
        yield program


@pytest.fixture(scope="module")
def url(front: Program) -> str:
    return "http://127.0.0.1:" + front.wait_for_line("listening on").rsplit(" ", 1)[1]


def peak_mb(program: Program) -> float:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def slowest_health_s(url: str, done: Callable[[], bool]) -> float:
    slowest = 0.0
    with httpx.Client() as client:
        while not done():
            started = time.monotonic()
            assert client.get(url + "/healthz").status_code == 200
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.01)
    return slowest


@pytest.mark.parametrize("name", BODIES)
def test_they_are_answered_and_hold_up_nobody(front: Program, url: str, name: str) -> None:
    make, statuses = BODIES[name]
    body = make()
    at_once = AT_ONCE if name in ("arrays-unknown", "wide-texts") else 1
    with ThreadPoolExecutor(at_once) as pool:
        asked = [pool.submit(httpx.post, url + "/rerank", content=body, timeout=60) for _ in range(at_once)]
        slowest = slowest_health_s(url, lambda: all(each.done() for each in asked))
        assert {each.result().status_code for each in asked} <= statuses
    assert peak_mb(front) < MOST_MB
    assert slowest < MOST_S


def test_gzip_that_grows_is_bounded(front: Program, url: str) -> None:
    small = gzip.compress(b'{"query":"q","documents":["d"]}')
    grows = gzip.compress(b'{"query":"q","documents":["' + b"x" * (200 << 20) + b'"]}', 1)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [
            pool.submit(httpx.post, url + "/rerank", content=body, headers={"Content-Encoding": "gzip"}, timeout=60)
            for body in [grows] * AT_ONCE + [small]
        ]
        slowest = slowest_health_s(url, lambda: all(each.done() for each in asked))
        assert [each.result().status_code for each in asked] == [413] * AT_ONCE + [503]
    assert peak_mb(front) < MOST_MB
    assert slowest < MOST_S
