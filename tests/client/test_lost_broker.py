"""A broker that dies, stands still or is not started yet: who waits, who is told at once, and what is sent later."""

import asyncio
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from openvino_reranker.client import (
    AsyncReranker,
    DeadlineExceeded,
    Failed,
    Ranking,
    Reranker,
    Unavailable,
    rerank_or_keep_order,
)
from openvino_reranker.client.broker_socket import BrokerSocket
from openvino_reranker.client.connection import Connection
from openvino_reranker.client.pending import MOST_LOSSES
from openvino_reranker.protocol.client_messages import Hello, Refusal, Rerank
from openvino_reranker.protocol.status_messages import GetStatus
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.processes import Program
from openvino_reranker.tests.systemd.manager import start_with_sockets, unix_listener


def wait_until_nobody_listens(reranker: Reranker) -> None:
    """Ask until the client has noticed that its broker is gone."""
    deadline = time.monotonic() + 10
    told = ""
    while "nothing is listening" not in told:
        assert time.monotonic() < deadline, told
        told = rerank_or_keep_order("q", ["d"], timeout=0.05, reranker=reranker).rerank_error or ""


def test_after_the_brokers_death_it_fails_at_once_and_sends_nothing_later(runtime: Path) -> None:
    environment = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    path = runtime / "requests.sock"
    with Reranker(path) as reranker:
        with Program("broker", **environment) as broker:
            broker.wait_for_line("listening on")
            epoch = reranker.status().epoch
            broker.process.kill()
        assert path.exists()
        wait_until_nobody_listens(reranker)
        started = time.monotonic()
        for _ in range(10):
            kept = rerank_or_keep_order("q", ["a", "b"], reranker=reranker)
            assert kept.documents == ["a", "b"]
            assert kept.rerank_error is not None
            assert kept.rerank_error.startswith("unavailable: no rerank service: nothing is listening")
            with pytest.raises(Unavailable, match="nothing is listening"):
                reranker.status()
        assert time.monotonic() - started < 1
        with Program("broker", **environment) as broker:
            broker.wait_for_line("listening on")
            status = reranker.status()
            assert status.epoch != epoch
            assert status.counters["requests"] == 0


def test_while_a_service_manager_holds_the_socket_requests_wait_and_late_ones_are_dropped(runtime: Path) -> None:
    path = runtime / "requests.sock"

    async def ask() -> None:
        async with AsyncReranker(path) as reranker:
            late = [reranker.rerank("q", [f"late {number}"], timeout=0.05) for number in range(20)]
            given_up = await asyncio.gather(*late, return_exceptions=True)
            assert [type(error) for error in given_up] == [DeadlineExceeded] * 20
            waiting = asyncio.create_task(reranker.rerank("q", ["in time"], timeout=30))
            broker = start_with_sockets(
                {"requests": listening}, "-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime)
            )
            try:
                while (status := await reranker.status(timeout=20)).queue.requests == 0:
                    assert not waiting.done(), waiting.result()
                assert status.counters["requests"] == 1
                # The same again, now that a broker was there.
                broker.kill()
                broker.wait()
                broker = start_with_sockets(
                    {"requests": listening}, "-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime)
                )
                while (status := await reranker.status(timeout=20)).queue.requests == 0:
                    assert not waiting.done(), waiting.result()
                assert status.counters["requests"] == 1
                waiting.cancel()
                while (await reranker.status()).queue.requests:
                    pass
            finally:
                broker.kill()
                broker.wait()

    with unix_listener(path) as listening:
        asyncio.run(asyncio.wait_for(ask(), 50))


def test_a_broker_that_stands_still_is_not_sent_all_that_was_given_up(runtime: Path) -> None:
    document = "x" * 1_000_000

    async def ask() -> None:
        async with AsyncReranker(runtime / "requests.sock") as reranker:
            await reranker.status()
            broker.process.send_signal(signal.SIGSTOP)
            asked = [reranker.rerank("q", [document], timeout=0.05) for _ in range(40)]
            given_up = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(error) for error in given_up] == [DeadlineExceeded] * 40
            broker.process.send_signal(signal.SIGCONT)
            status = await reranker.status(timeout=20)
            assert status.counters["requests"] < 15
            while (status := await reranker.status()).queue.requests:  # and those were cancelled
                pass

    with Program("broker", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as broker:
        broker.wait_for_line("listening on")
        asyncio.run(asyncio.wait_for(ask(), 50))


def test_a_status_that_was_given_up_is_forgotten(runtime: Path) -> None:
    path = runtime / "requests.sock"

    async def ask() -> None:
        async with AsyncReranker(path) as reranker:
            with pytest.raises(Unavailable, match="no broker answered"):
                await reranker.status(timeout=0.05)

    with Reranker(path) as reranker, ThreadPoolExecutor(1) as pool:
        with unix_listener(path):
            started = time.monotonic()
            for _ in range(3):
                with pytest.raises(Unavailable, match="no broker answered"):
                    reranker.status(timeout=0.05)
            asyncio.run(ask())
            assert time.monotonic() - started < 1
            assert len(Connection._shared[path]._pending) == 0
        path.unlink()
        with FakeBroker(path) as broker:
            given_up = pool.submit(reranker.status, 1.0)
            assert isinstance(broker.receive(), Hello)
            assert isinstance(broker.receive(), GetStatus)
            with pytest.raises(Unavailable, match="no broker answered"):
                given_up.result()
            pool.submit(reranker.rerank, "q", ["d"], timeout=0.05, grace=0)
            assert isinstance(broker.receive(), Rerank)  # and no Cancel of what is no request


def test_falling_back_takes_no_longer_than_it_may(runtime: Path) -> None:
    path = runtime / "requests.sock"
    with unix_listener(path), Reranker(path) as reranker:
        started = time.monotonic()
        kept = rerank_or_keep_order("q", ["a", "b"], timeout=0.5, reranker=reranker)
        assert 0.4 < time.monotonic() - started < 0.9
        assert kept.rerank_error is not None
        assert kept.rerank_error.startswith("deadline_exceeded")


def test_a_request_lives_through_several_deaths_of_the_broker(runtime: Path) -> None:
    environment = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with Reranker(runtime / "requests.sock") as reranker, ThreadPoolExecutor(1) as pool:
        waiting: Future[Ranking] = Future()
        for number in range(3):
            with Program("broker", **environment) as broker:
                broker.wait_for_line("listening on")
                if number == 0:
                    waiting = pool.submit(reranker.rerank, "q", ["d"], None, 60.0)
                while reranker.status().queue.requests != 1:
                    assert not waiting.done(), waiting.result()
                broker.process.kill()
                broker.process.wait()
        with pytest.raises(Unavailable, match="nothing is listening"):
            waiting.result(timeout=10)


def test_a_request_that_every_broker_dies_of_is_answered(runtime: Path) -> None:
    path = runtime / "requests.sock"
    with Reranker(path) as reranker, ThreadPoolExecutor(1) as pool:
        waiting: Future[Ranking] = Future()
        for number in range(MOST_LOSSES):
            with FakeBroker(path) as broker:
                if number == 0:
                    waiting = pool.submit(reranker.rerank, "q", ["d"], None, 60.0)
                while not isinstance(broker.receive(), Rerank):
                    pass
        with FakeBroker(path), pytest.raises(Unavailable, match=f"lost {MOST_LOSSES} times"):
            waiting.result(timeout=10)


def test_nothing_waits_long_where_no_broker_will_come(runtime: Path) -> None:
    path = runtime / "requests.sock"

    async def ask() -> None:
        async with AsyncReranker(path) as reranker:
            with FakeBroker(path) as broker:
                waiting = asyncio.create_task(reranker.rerank("q", ["d"], timeout=60))
                while not isinstance(await asyncio.to_thread(broker.receive), Rerank):
                    pass
                reranker.expect_no_other_broker()
                await asyncio.sleep(0.3)
                assert not waiting.done()  # this one is there
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await waiting
            assert time.monotonic() - started < 1

    asyncio.run(asyncio.wait_for(ask(), 30))


def test_what_a_broker_answered_before_it_went_counts(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hold = runtime / "requests.sock", threading.Event()
    wait = BrokerSocket.wait

    def wait_later(broker: BrokerSocket, timeout_ms: int | None) -> bool:
        if hold.is_set():
            time.sleep(0.5)  # until the broker has answered and gone
        return wait(broker, timeout_ms)

    monkeypatch.setattr(BrokerSocket, "wait", wait_later)
    with Reranker(path) as reranker, ThreadPoolExecutor(1) as pool:
        with FakeBroker(path) as broker:
            waiting = pool.submit(reranker.status, 30.0)
            while not isinstance(request := broker.receive(), GetStatus):
                pass
            hold.set()
            connection = Connection.shared(path)
            connection.expect_no_other_broker()
            time.sleep(0.1)
            broker.answer(Refusal(request.id, "failed", "the last word"))
            time.sleep(0.1)
        with pytest.raises(Failed, match="the last word"):
            waiting.result(timeout=10)
        connection.release()
