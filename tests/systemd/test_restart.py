"""The sockets stay while the broker comes and goes: no request of the Python client is lost."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

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
        for _ in range(3):
            wait_for_more(outcomes, 1)
            broker.end(ending)
            wait_for_more(outcomes, 5 * CALLERS)
        done.set()
        for each in callers:
            each.join()
    # Then every request was answered, with its own scores
    assert set(outcomes) == {"answered"}
    assert len(outcomes) >= 3 * 5 * CALLERS
    assert worker.batches > 0
    assert broker.statuses[:3] == [0 if ending == signal.SIGTERM else -ending] * 3


def test_what_the_broker_had_taken_is_answered_before_it_stops(
    runtime: Path, start_worker: Callable[..., TinyWorker]
) -> None:
    sockets = {name: unix_listener(runtime / f"{name}.sock") for name in ("requests", "workers")}
    with KeptService(sockets, "-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime)) as broker:
        worker = start_worker(1.0)
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
