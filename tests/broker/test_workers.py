"""Where a worker stands with the broker, and what each of its messages means there."""

from typing import get_args

import pytest
from openvino_reranker.broker.batch_budget import MAX_BATCH_BYTES
from openvino_reranker.broker.peer import Peer
from openvino_reranker.broker.worker_session import Standing
from openvino_reranker.broker.workers import DECISIONS
from openvino_reranker.protocol.client_messages import Cancel
from openvino_reranker.protocol.message import Message
from openvino_reranker.protocol.status_messages import GetStatus, Status
from openvino_reranker.protocol.timeouts import DEFAULT_TIMEOUTS, Timeouts
from openvino_reranker.protocol.worker_messages import (
    BatchFailed,
    BatchResult,
    Bucket,
    Dismissed,
    Progress,
    Pull,
    WhoAreYou,
    WorkerBye,
    WorkerHello,
    WorkerMessage,
    WorkerStarting,
    WorkerState,
)
from openvino_reranker.tests.broker.harness import Harness, logit

HELLO = WorkerHello(1, "model", "CPU", "f32", 512, 8192)
RESULT = BatchResult(1, [1.0], [8], [], [], 8, 1, 1.0)
BUT_STARTING_AND_BYE: list[Message] = [Pull(), Progress(), RESULT, BatchFailed(1, "hiccup"), WorkerState({})]


def given_up(harness: Harness) -> None:
    """Have a worker be given up for its silence while it holds a batch."""
    harness.hello()
    harness.ask(b"1", [b"a"], deadline_ms=300_000)
    assert harness.pull() is not None
    harness.tick(DEFAULT_TIMEOUTS.broker_silence + 0.1)
    assert harness.standing() is Standing.DISMISSED
    harness.to_workers.clear()


def status(harness: Harness) -> Status:
    harness.take(harness.broker.client_message(Peer(b"p", "p", True), GetStatus(b"s"), harness.now))
    answer = harness.to_clients[-1][1]
    assert isinstance(answer, Status)
    return answer


def test_silence_is_counted_from_when_the_broker_itself_runs_again() -> None:
    harness = Harness()
    harness.broker.resume(harness.now)  # nobody serves
    harness.hello()
    harness.now += 10 * DEFAULT_TIMEOUTS.broker_silence
    harness.broker.resume(harness.now)
    harness.tick(DEFAULT_TIMEOUTS.broker_silence - 0.1)
    assert harness.standing() is Standing.SERVING
    harness.tick(0.2)
    assert harness.standing() is Standing.DISMISSED


def test_every_message_is_decided_in_every_standing() -> None:
    for standing in Standing:
        assert DECISIONS[standing].keys() == set(get_args(WorkerMessage)), standing


@pytest.mark.parametrize("message", BUT_STARTING_AND_BYE, ids=lambda message: type(message).__name__)
def test_an_unknown_worker_is_asked_who_it_is(message: WorkerMessage) -> None:
    harness = Harness()
    harness.say(message)
    assert harness.to_workers == [(b"worker", WhoAreYou())]
    assert harness.standing() is Standing.UNKNOWN


@pytest.mark.parametrize(
    "message", [*BUT_STARTING_AND_BYE, HELLO, WorkerStarting(1, "x")], ids=lambda m: type(m).__name__
)
def test_a_worker_that_was_given_up_is_dismissed_whatever_it_says(message: WorkerMessage) -> None:
    harness = Harness()
    given_up(harness)
    harness.say(message)
    ((worker, dismissed),) = harness.to_workers
    assert worker == b"worker"
    assert isinstance(dismissed, Dismissed)
    assert not dismissed.replaced  # nobody serves: it is to be started anew
    assert "nothing heard" in dismissed.reason
    assert harness.standing() is Standing.DISMISSED
    assert not harness.answers(b"1")


def test_a_worker_that_comes_back_does_not_take_its_successors_place() -> None:
    harness = Harness()
    given_up(harness)
    harness.hello(b"successor")
    batch = harness.pull(b"successor")
    assert batch is not None
    harness.say(Progress())
    harness.hello()
    assert [message for worker, message in harness.to_workers if worker == b"worker"] == [
        Dismissed("nothing heard from the worker (pid 1) for 10 s", replaced=True)
    ] * 2
    assert harness.standing(b"successor") is Standing.SERVING
    harness.answer(batch, b"successor")
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_a_dismissed_worker_is_named_in_the_status_until_its_connection_closes() -> None:
    harness = Harness()
    given_up(harness)
    assert status(harness).worker.dismissed == [1]
    harness.say(WorkerBye("stopped"))
    assert status(harness).worker.dismissed == [1]
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    assert status(harness).worker.dismissed == []
    assert harness.standing() is Standing.UNKNOWN


def test_a_replaced_worker_is_dismissed_and_named_so() -> None:
    harness = Harness()
    harness.hello(b"old")
    harness.hello(b"new")
    assert (b"old", Dismissed("worker (pid 1) was replaced by pid 1", replaced=True)) in harness.to_workers
    assert (harness.standing(b"old"), harness.standing(b"new")) == (Standing.DISMISSED, Standing.SERVING)


def test_workers_that_end_themselves_one_after_the_other_open_the_circuit() -> None:
    harness = Harness()
    for number in range(3):
        worker = b"w%d" % number
        harness.hello(worker)
        harness.ask(b"r%d" % number, [b"%d" % number])
        assert harness.pull(worker) is not None
        harness.say(WorkerBye("the device has finished nothing for 15 s", fault=True), worker)
    ready, reason = harness.broker.ready(harness.now)
    assert not ready
    assert "3 times in a row" in reason
    assert "finished nothing for 15 s" in reason


def test_new_buckets_change_what_a_pair_costs() -> None:
    harness = Harness()
    hello = WorkerHello(1, "model", "NPU", "f16", 512, 1024, [Bucket(512, 512.0)])
    harness.take(harness.broker.worker_message(b"worker", hello, harness.now))
    harness.ask(b"1", [b"%d" % number for number in range(40)])
    first = harness.pull()
    assert first is not None
    assert len(first.pairs) == 1  # it costs a row of 512, the whole of a first batch
    harness.say(WorkerState({}, [Bucket(64, 64.0), Bucket(512, 512.0)]))
    second = harness.pull()
    assert second is not None
    assert len(second.pairs) == 8


def test_a_batch_holds_few_bytes_whatever_its_tokens() -> None:
    harness = Harness()
    harness.hello()  # 512 tokens a pair at most, 8192 a batch
    harness.ask(b"1", [b"%d" % number + bytes(1_000_000).replace(b"\0", b"a") for number in range(12)])
    batch = harness.pull()
    assert batch is not None
    assert sum(len(document) for _, document in batch.pairs) <= MAX_BATCH_BYTES


def test_the_limits_of_time_are_in_the_order_that_makes_them_work() -> None:
    t = Timeouts()
    assert t.broker_silence < t.device_stuck < t.broker_stall < t.first_inference
    assert t.broker_silence < t.watchdog


def test_losses_are_counted_by_their_reason() -> None:
    harness = Harness()
    given_up(harness)  # silent
    harness.hello(b"second")
    harness.hello(b"third")  # replaces it
    harness.say(Progress(stalled_ms=DEFAULT_TIMEOUTS.broker_stall * 1000 + 1), b"third")
    harness.tick(0.1)
    harness.hello(b"fourth")
    harness.take(harness.broker.worker_gone(b"fourth", harness.now))
    harness.hello(b"fifth")
    harness.say(WorkerBye("the device hangs", fault=True), b"fifth")
    harness.hello(b"sixth")
    harness.take(harness.broker.batch_undelivered(b"sixth", 99, harness.now))
    harness.hello(b"seventh")
    harness.say(WorkerBye("stopped"), b"seventh")  # asked to: no loss
    shown = status(harness).worker
    assert shown.losses == dict.fromkeys(("silent", "replaced", "stalled", "disconnected", "fault", "unreachable"), 1)


def test_what_a_batch_serves_is_known_while_it_is_in_flight() -> None:
    harness = Harness()
    assert harness.broker.requests_in(1) == []
    harness.hello()
    harness.ask(b"1", [b"a", b"b"])
    harness.ask(b"2", [b"a"])
    batch = harness.pull()
    assert batch is not None
    assert sorted(harness.broker.requests_in(batch.batch)) == [b"1", b"2"]
    assert harness.broker.requests_in(batch.batch + 1) == []


def test_a_batch_that_nobody_sent_is_neither_scored_nor_taken_back() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    batch = harness.pull()
    assert batch is not None
    unknown = batch.batch + 1
    harness.say(BatchFailed(unknown, "hiccup"))
    harness.say(BatchResult(unknown, [1.0], [8], [], [], 8, 1, 1.0))
    harness.take(harness.broker.batch_undelivered(b"another", batch.batch, harness.now))
    assert harness.answers(b"1") == []
    harness.answer(batch)
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_a_pair_that_must_run_alone_waits_until_the_worker_holds_nothing() -> None:
    harness = Harness(batch_ms=1.0)
    harness.hello(budget=8)
    for number in range(3):
        harness.ask(b"%d" % number, [b"text %d" % number * 10])
    first = harness.pull()
    second = harness.pull()
    assert first is not None
    assert second is not None
    harness.say(BatchFailed(first.batch, "hiccup"))
    assert harness.pull() is None  # the failed pair waits for the end of the second batch
    harness.answer(second)
    alone = harness.pull()
    assert alone is not None
    assert [text for _, text in alone.pairs] == [text for _, text in first.pairs]


def test_to_cancel_what_is_not_known_is_nothing() -> None:
    harness = Harness()
    harness.take(harness.broker.client_message(Peer(b"p", "p", True), Cancel(b"none"), harness.now))
    assert harness.to_clients == []
