"""Faults, in real processes: what a caller sees of each is in SPEC.md, section "Faults"."""

import functools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import zmq
from openvino_reranker.client import Failed, Ranking, Reranker, Unavailable
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.client_messages import Refusal, Rerank
from openvino_reranker.protocol.codec import MAGIC, decode_from_broker, encode
from openvino_reranker.protocol.limits import MAX_MESSAGE_BYTES
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.processes import (
    ROOT,
    Service,
    broker,
    clean_environment,
    injected,
    is_alive,
    run_program,
)

QUESTION = "How many people live in Berlin?"
PASSAGES = ["Berlin is well known for its museums.", "Berlin had a population of 3,520,031 inhabitants."]


@functools.cache
def logit(passage: str) -> float:
    """Return the tiny model's logit of a passage."""
    return tiny_bert.reference_logit(tiny_bert.make_weights(), QUESTION, passage)


def check(ranking: Ranking, passages: Sequence[str] = PASSAGES) -> None:
    """Check every score, and the order."""
    scores = {hit.index: hit.score for hit in ranking.hits}
    assert scores == pytest.approx({place: logit(passage) for place, passage in enumerate(passages)}, abs=0.002)
    assert ranking.order == sorted(scores, key=lambda place: -scores[place])


@contextmanager
def strange_worker(runtime: Path, model: ReadyModel, fault: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "openvino_reranker.tests.end_to_end.strange_worker", runtime, model.folder, fault],
        env=clean_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def kept_worker(runtime: Path, model: ReadyModel, fault: str) -> Iterator[list[int]]:
    """A worker that is started again whenever it dies; yields the pids so far."""
    pids: list[int] = []
    stop = threading.Event()

    def keep() -> None:
        while not stop.is_set():
            with strange_worker(runtime, model, fault) as worker:
                pids.append(worker.pid)
                while worker.poll() is None and not stop.is_set():
                    time.sleep(0.02)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield pids
    finally:
        stop.set()
        keeper.join()


@contextmanager
def callers(socket_path: Path, count: int) -> Iterator[list[Ranking | Exception]]:
    """Callers that ask without pause until left; every answer they got, right or wrong."""
    answers: list[Ranking | Exception] = []
    stop = threading.Event()

    def call() -> None:
        with Reranker(socket_path) as reranker:
            while not stop.is_set():
                try:
                    answers.append(reranker.rerank(QUESTION, PASSAGES, timeout=30))
                except Exception as error:
                    answers.append(error)

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(call) for _ in range(count)]
        try:
            yield answers
        finally:
            stop.set()
        for each in running:
            each.result()


def wait_for_more(answers: list[Ranking | Exception], more: int, timeout: float = 60) -> None:
    wanted, deadline = len(answers) + more, time.monotonic() + timeout
    while len(answers) < wanted:
        assert time.monotonic() < deadline, answers
        time.sleep(0.01)


def test_a_killed_worker_is_started_again_and_no_request_is_lost(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service, callers(service.socket, 4) as answers:
        for _ in range(2):
            wait_for_more(answers, 5)
            pid = service.wait_until_ready().worker.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for_more(answers, 8)
    for answer in answers:
        assert isinstance(answer, Ranking), answer
        check(answer)


def test_a_killed_broker_is_started_again_and_no_request_is_lost(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service, callers(service.socket, 4) as answers:
        wait_for_more(answers, 5)
        os.kill(service.status().pid, signal.SIGKILL)
        wait_for_more(answers, 20)
    for answer in answers:
        assert isinstance(answer, Ranking), answer
        check(answer)


def test_whoever_comes_while_the_broker_is_started_again_waits_for_it(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service:
        for _ in range(3):
            os.kill(service.status().pid, signal.SIGKILL)
            with Reranker(service.socket) as newcomer:
                check(newcomer.rerank(QUESTION, PASSAGES, timeout=30))


def test_a_killed_front_is_started_again_on_the_same_port(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service:
        pid = httpx.get(service.url + "/readyz").json()["pids"]["http"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while True:
            try:  # the port stays open: a request made meanwhile waits in its backlog
                found = httpx.get(service.url + "/readyz", timeout=20).json()
            except httpx.TransportError:
                found = {}
            if found.get("pids", {}).get("http") not in (None, pid):
                break
            assert time.monotonic() < deadline
        assert service.post({"query": QUESTION, "documents": PASSAGES}).status_code == 200


def test_a_stopped_worker_is_given_up_and_leaves_its_successor_alone(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime, **injected(broker_silence=2.0)) as program,
        strange_worker(runtime, tiny, "plain") as first,
        Reranker(runtime / "requests.sock") as reranker,
        ThreadPoolExecutor(1) as pool,
    ):
        check(reranker.rerank(QUESTION, PASSAGES))
        first.send_signal(signal.SIGSTOP)
        asked = pool.submit(reranker.rerank, QUESTION, PASSAGES, None, 60.0)
        program.wait_for_line("nothing heard from the worker")
        assert reranker.status().worker.dismissed == [first.pid]
        with strange_worker(runtime, tiny, "plain") as successor:
            check(asked.result())
            first.send_signal(signal.SIGCONT)
            # It comes back and answers what nobody waits for: it is told to end itself, and the successor stays.
            assert first.wait(30) == 0
            check(reranker.rerank(QUESTION, PASSAGES))
            worker = reranker.status().worker
            assert (worker.pid, worker.dismissed) == (successor.pid, [])


def test_a_broker_that_was_stopped_hears_its_worker_before_it_judges(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime, **injected(broker_silence=2.0)) as program,
        strange_worker(runtime, tiny, "plain") as worker,
        callers(runtime / "requests.sock", 2) as answers,
    ):
        for _ in range(2):
            wait_for_more(answers, 3)
            program.process.send_signal(signal.SIGSTOP)
            time.sleep(3)
            program.process.send_signal(signal.SIGCONT)
            wait_for_more(answers, 3)
        check_nothing_was_lost(runtime, worker.pid, answers)


def test_after_a_stop_of_the_whole_machine_the_worker_is_not_judged(runtime: Path, tiny: ReadyModel) -> None:
    """As when a container is paused: the worker, too, has said nothing, and the broker wakes first."""
    with (
        broker(runtime, **injected(broker_silence=3.0)) as program,
        strange_worker(runtime, tiny, "plain") as worker,
        callers(runtime / "requests.sock", 2) as answers,
    ):
        wait_for_more(answers, 3)
        for process in (worker, program.process):
            process.send_signal(signal.SIGSTOP)
        time.sleep(6)
        program.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        worker.send_signal(signal.SIGCONT)
        wait_for_more(answers, 3)
        check_nothing_was_lost(runtime, worker.pid, answers)


def check_nothing_was_lost(runtime: Path, worker: int, answers: list[Ranking | Exception]) -> None:
    with Reranker(runtime / "requests.sock") as reranker:
        status = reranker.status()
    assert (status.worker.pid, status.worker.dismissed) == (worker, [])
    assert (status.counters["worker_losses"], status.counters["retried_pairs"]) == (0, 0)
    for answer in answers:
        assert isinstance(answer, Ranking), answer
        check(answer)


def test_a_worker_whose_device_hangs_is_replaced_and_no_request_is_lost(
    runtime: Path, tiny: ReadyModel, tmp_path: Path
) -> None:
    shorter = injected(hang_once=tmp_path / "hung", device_stuck=2.0, broker_stall=20.0)
    with (
        Service(runtime, tiny.folder, **shorter) as service,
        Reranker(service.socket) as reranker,
        callers(service.socket, 2) as answers,
    ):
        stuck = service.status().worker.pid
        wait_for_more(answers, 3)
        check(reranker.rerank(QUESTION, [*PASSAGES, "HANG"], timeout=60), [*PASSAGES, "HANG"])
        service.wait_for_line("the CPU has finished nothing for 2 s")
        wait_for_more(answers, 5)
        status = service.wait_until_ready()
        assert status.worker.pid != stuck
        assert not is_alive(stuck or 0)
        assert sum(status.worker.losses.values()) == 1
    for answer in answers:
        assert isinstance(answer, Ranking), answer
        check(answer)


def test_a_worker_that_does_not_end_itself_is_given_up_by_the_broker(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime, **injected(broker_stall=2.0)) as program,
        Reranker(runtime / "requests.sock") as reranker,
        ThreadPoolExecutor(1) as pool,
        strange_worker(runtime, tiny, "hang") as stuck,
    ):
        asked = pool.submit(reranker.rerank, QUESTION, PASSAGES, None, 90.0)
        program.wait_for_line("has finished nothing for 2 s")
        with strange_worker(runtime, tiny, "plain") as successor:
            check(asked.result())
            assert reranker.status().worker.pid == successor.pid
        assert stuck.wait(30) == 75


def test_of_two_workers_the_newer_serves_and_the_older_leaves(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime),
        strange_worker(runtime, tiny, "plain") as older,
        Reranker(runtime / "requests.sock") as reranker,
    ):
        check(reranker.rerank(QUESTION, PASSAGES))
        with strange_worker(runtime, tiny, "plain") as newer:
            assert older.wait(30) == 0
            check(reranker.rerank(QUESTION, PASSAGES))
            assert reranker.status().worker.pid == newer.pid


def test_a_pair_that_kills_the_worker_fails_alone(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime),
        kept_worker(runtime, tiny, "poison") as workers,
        Reranker(runtime / "requests.sock") as reranker,
        ThreadPoolExecutor(2) as pool,
    ):
        check(reranker.rerank(QUESTION, PASSAGES))
        lists = [[*PASSAGES, f"number {n}"] for n in range(2)]
        good = [pool.submit(reranker.rerank, QUESTION, passages, None, 60.0) for passages in lists]
        with pytest.raises(Failed, match=r"documents\[1\] failed on the device twice"):
            reranker.rerank(QUESTION, ["harmless", "this is POISON"], timeout=60)
        for asked, passages in zip(good, lists, strict=True):
            check(asked.result(), passages)
        check(reranker.rerank(QUESTION, PASSAGES, timeout=60))
        assert len(workers) == 3  # the batch died, the pair died alone, the third serves


def test_a_worker_that_dies_again_and_again_is_said_to(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime),
        kept_worker(runtime, tiny, "poison"),
        Reranker(runtime / "requests.sock") as reranker,
        ThreadPoolExecutor(3) as pool,
    ):
        asked = [pool.submit(reranker.rerank, QUESTION, [f"POISON {n}"], None, 25.0) for n in range(3)]
        while "in a row" not in reranker.status().reason:
            time.sleep(0.02)
        with pytest.raises(Unavailable, match="3 times in a row without finishing a batch"):
            reranker.rerank(QUESTION, PASSAGES)
        for each in asked:
            with pytest.raises((Failed, Unavailable)):
                each.result()


def test_logits_that_are_nan_are_never_scores(runtime: Path, tiny: ReadyModel) -> None:
    with (
        broker(runtime),
        strange_worker(runtime, tiny, "nan") as worker,
        Reranker(runtime / "requests.sock") as reranker,
    ):
        while not reranker.status().ready:
            assert worker.poll() is None
            time.sleep(0.02)
        with pytest.raises(Failed, match="the model returned nan for a pair"):
            reranker.rerank(QUESTION, PASSAGES)
        assert worker.poll() is None  # it is the pair that failed, not the worker


@contextmanager
def dealer(path: Path, **options: int) -> Iterator["zmq.Socket[bytes]"]:
    """A peer of the broker's that is not ours."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.DEALER) as made:
        for name, value in ({"LINGER": 1000} | options).items():
            made.setsockopt(getattr(zmq, name), value)
        made.connect(f"ipc://{path}")
        yield made
    context.term()


def test_garbage_on_either_socket_disturbs_nobody(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service:
        worker = service.status().worker.pid
        for name in ("requests.sock", "workers.sock"):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(runtime / name))
                raw.sendall(os.urandom(10_000))
            for frames in ([b""], [b"x"] * 40, [MAGIC, os.urandom(500)], [MAGIC, b"\x80"], [os.urandom(1 << 20)]):
                with dealer(runtime / name) as stranger:
                    stranger.send_multipart(frames)
        with Reranker(service.socket) as reranker:
            check(reranker.rerank(QUESTION, PASSAGES))
            status = reranker.status()
        assert status.worker.pid == worker
        assert status.counters["refused_invalid"] >= 3  # of the five, two break ZeroMQ's framing as we use it


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([MAGIC, bytes(MAX_MESSAGE_BYTES + 1)], f"the limit is {MAX_MESSAGE_BYTES}"),
        ([MAGIC, b"a", b"b"], "a message of more than 2 parts"),
    ],
)
def test_a_message_out_of_bounds_ends_only_its_own_connection(
    service: Service, frames: list[bytes], reason: str
) -> None:
    with dealer(service.socket) as stranger, Reranker(service.socket) as reranker:
        assert reranker.rerank(QUESTION, PASSAGES).order == [1, 0]
        stranger.send_multipart(frames)
        assert stranger.poll(10_000)
        told = decode_from_broker(stranger.recv_multipart())
        assert isinstance(told, Refusal)
        assert reason in told.message
        assert reranker.rerank(QUESTION, PASSAGES).order == [1, 0]


def test_a_peer_that_never_reads_its_answers_is_disconnected(runtime: Path) -> None:
    with (
        broker(runtime) as program,
        Reranker(runtime / "requests.sock") as reranker,
        dealer(runtime / "requests.sock", LINGER=0, RCVHWM=1, SNDHWM=0) as deaf,
    ):
        before = reranker.status()
        for number in range(60_000):
            deaf.send_multipart(encode(Rerank(b"%d" % number, b"", [b"no query"])))
        program.wait_for_line("bytes of answers unread")
        assert reranker.status().epoch == before.epoch


def test_a_broker_out_of_descriptors_serves_on(runtime: Path) -> None:
    """Whoever holds the most connections loses one for each newcomer."""
    with confined_broker(runtime, descriptors=64) as path:
        held: list[socket.socket] = []
        try:
            for _ in range(100):
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].connect(str(path))
            for _ in range(3):
                asked = run_program("status", "--json", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime))
                assert "no worker is ready" in asked.stdout, asked.stderr
        finally:
            for connection in held:
                connection.close()
        with Reranker(path) as reranker:
            assert reranker.status().reason.startswith("no worker is ready")


@contextmanager
def confined_broker(runtime: Path, descriptors: int) -> Iterator[Path]:
    """A broker that may open few descriptors."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openvino_reranker", "broker"],
        env=clean_environment(OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        path = runtime / "requests.sock"
        while not path.exists():
            time.sleep(0.02)
        yield path
        assert process.poll() is None, "it died"
    finally:
        process.kill()
        process.wait()
