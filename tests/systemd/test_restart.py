"""The sockets stay while broker and front come and go: no request of the Python client, and no new one, is lost."""

import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.tests.systemd.manager import KeptService, unix_listener
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

CALLERS = 6


def ask_until(done: threading.Event, path: Path, seed: int, outcomes: list[str]) -> None:
    chosen = random.Random(seed)
    with Reranker(path) as reranker:
        while not done.is_set():
            lengths = chosen.sample(range(1, 200), chosen.randint(1, 12))
            try:
                ranking = reranker.rerank("q", ["x" * length for length in lengths], timeout=20)
                right = [lengths[hit.index] for hit in ranking.hits] == sorted(lengths, reverse=True)
                outcomes.append("answered" if right else "answered wrongly")
            except Exception as error:
                outcomes.append(f"{type(error).__name__}: {error}")


def wait_for_more(outcomes: list[str], count: int) -> None:
    wanted, deadline = len(outcomes) + count, time.monotonic() + 15
    while len(outcomes) < wanted and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_restarts_under_load_lose_no_request(
    ending: signal.Signals, runtime: Path, start_worker: Callable[..., TinyWorker]
) -> None:
    # Given a broker whose sockets somebody else holds, a worker of 5 ms a batch, and callers without a pause
    sockets = {name: unix_listener(runtime / f"{name}.sock") for name in ("requests", "workers")}
    command = ("-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime))
    done = threading.Event()
    outcomes: list[str] = []
    with KeptService(sockets, *command) as broker:
        worker = start_worker(0.005)
        callers = [
            threading.Thread(target=ask_until, args=(done, runtime / "requests.sock", seed, outcomes))
            for seed in range(CALLERS)
        ]
        for each in callers:
            each.start()
        # When the broker is ended again and again while all of them wait
        for _ in range(2):
            wait_for_more(outcomes, 1)
            broker.end(ending)
            wait_for_more(outcomes, 5 * CALLERS)
        done.set()
        for each in callers:
            each.join()
    # Then every request was answered, with its own scores
    assert set(outcomes) == {"answered"}
    assert len(outcomes) >= 2 * 5 * CALLERS
    assert worker.batches > 0
    assert broker.statuses[:2] == [0 if ending == signal.SIGTERM else -ending] * 2


def test_what_the_broker_had_taken_is_answered_before_it_stops(
    runtime: Path, start_worker: Callable[..., TinyWorker]
) -> None:
    sockets = {name: unix_listener(runtime / f"{name}.sock") for name in ("requests", "workers")}
    with KeptService(sockets, "-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime)) as broker:
        worker = start_worker(0.3)
        with Reranker(runtime / "requests.sock") as reranker:
            while not reranker.status().ready:
                time.sleep(0.02)
            results: list[int] = []
            asking = threading.Thread(target=lambda: results.append(len(reranker.rerank("q", ["a", "bb"]).hits)))
            asking.start()
            while not reranker.status().worker.in_flight_batches:
                time.sleep(0.02)
            broker.end(signal.SIGTERM)
            asking.join()
    assert results == [2]
    assert worker.batches == 1  # computed once: the broker that stopped delivered it itself
    assert broker.statuses[0] == 0


def test_an_http_request_that_comes_while_the_front_stops_is_answered_by_the_next(
    runtime: Path, start_worker: Callable[..., TinyWorker]
) -> None:
    sockets = {name: unix_listener(runtime / f"{name}.sock") for name in ("requests", "workers")}
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    url = f"http://{address[0]}:{address[1]}"
    options = ("--runtime-dir", str(runtime))
    with (
        KeptService(sockets, "-m", "openvino_reranker", "broker", *options),
        KeptService({"http": listening}, "-m", "openvino_reranker", "http", *options) as front,
    ):
        start_worker()
        body = {"query": "q", "documents": ["a", "bb"]}
        first = httpx.get(url + "/readyz", timeout=20).json()["pids"]["http"]
        # Given a front that waits for the rest of a body before it stops
        with socket.create_connection(address) as stalled:
            stalled.sendall(b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert httpx.get(url + "/healthz").status_code == 200  # it has seen that one too
            ending = threading.Thread(target=front.end, args=(signal.SIGTERM,))
            ending.start()
            while can_be_accepted(url):
                time.sleep(0.05)
            # When a caller comes meanwhile
            answers: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: answers.append(httpx.post(url + "/rerank", json=body, timeout=30)))
            asking.start()
        ending.join()
        asking.join()
        # Then it gets its scores
        assert [len(answer.json()["results"]) for answer in answers] == [2]
        assert httpx.get(url + "/readyz", timeout=20).json()["pids"]["http"] != first
    assert front.statuses[0] == 0


def can_be_accepted(url: str) -> bool:
    """Whether somebody answers now; a socket that is held open lets a caller wait."""
    try:
        return httpx.get(url + "/healthz", timeout=0.3).status_code == 200
    except httpx.TimeoutException:
        return False
