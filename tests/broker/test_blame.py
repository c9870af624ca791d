"""Whose fault a lost pair is: what has been lost alone has failed only if it may have been the cause."""

import pytest
from openvino_reranker.protocol.worker_messages import Batch, BatchFailed, WorkerBye
from openvino_reranker.tests.broker.harness import Harness, logit


def one_alone(harness: Harness) -> Batch:
    """Have a worker hold one pair alone, because the batch it was in had failed."""
    harness.hello()
    harness.ask(b"1", [b"a"])
    batch = harness.pull()
    assert batch is not None
    harness.take(harness.broker.worker_message(b"worker", BatchFailed(batch.batch, "hiccup"), harness.now))
    alone = harness.pull()
    assert alone is not None
    return alone


def expect_scores(harness: Harness, worker: bytes) -> None:
    harness.serve(worker)
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_a_worker_that_is_told_to_stop_blames_nobody() -> None:
    harness = Harness()
    one_alone(harness)
    harness.take(harness.broker.worker_message(b"worker", WorkerBye("stopped"), harness.now))
    harness.hello(b"next")
    expect_scores(harness, b"next")


def test_a_worker_whose_device_failed_blames_what_it_held() -> None:
    harness = Harness()
    one_alone(harness)
    harness.take(harness.broker.worker_message(b"worker", WorkerBye("the device hung", fault=True), harness.now))
    assert harness.refusal(b"1").code == "failed"


def test_a_worker_that_says_hello_again_blames_nobody() -> None:
    harness = Harness()
    one_alone(harness)
    harness.hello()
    expect_scores(harness, b"worker")


def test_a_worker_that_is_replaced_blames_nobody_and_is_no_loss_in_a_row() -> None:
    harness = Harness()
    one_alone(harness)
    for number in range(4):
        harness.hello(b"w%d" % number)
        assert harness.pull(b"w%d" % number) is not None
    harness.hello(b"last")
    assert harness.broker.ready(harness.now) == (True, "ready")
    expect_scores(harness, b"last")


def test_a_pair_that_was_lost_once_without_blame_has_two_losses_left() -> None:
    harness = Harness()
    harness.hello(b"w0")
    harness.ask(b"1", [b"a"])
    harness.pull(b"w0")
    for number in range(1, 3):
        harness.hello(b"w%d" % number)  # takes the place of the one before
        assert harness.pull(b"w%d" % number) is not None
    harness.take(harness.broker.worker_gone(b"w2", harness.now))
    assert not harness.answers(b"1")
    harness.hello(b"w3")
    assert harness.pull(b"w3") is not None
    harness.take(harness.broker.worker_gone(b"w3", harness.now))
    assert harness.refusal(b"1").code == "failed"


def test_a_batch_that_could_not_be_sent_blames_nobody() -> None:
    harness = Harness()
    alone = one_alone(harness)
    harness.take(harness.broker.batch_undelivered(b"worker", alone.batch, harness.now))
    harness.hello(b"next")
    expect_scores(harness, b"next")


@pytest.mark.parametrize("half_done", [False, True])
def test_a_request_is_never_answered_by_two_models(half_done: bool) -> None:
    harness = Harness()
    harness.hello(budget=200)
    harness.ask(b"1", [b"%d" % number * 400 for number in range(8)])
    first = harness.pull()
    assert first is not None
    assert len(first.pairs) < 8
    if half_done:
        harness.answer(first)
    harness.take(harness.broker.worker_message(b"worker", WorkerBye("stopped"), harness.now))
    harness.hello(b"other", model="another model")
    harness.serve(b"other")
    if half_done:
        assert harness.refusal(b"1").code == "unavailable"
        assert "changed to another model" in harness.refusal(b"1").message
    else:
        assert len(harness.scores(b"1")) == 8
    assert harness.broker.idle


def test_a_request_half_done_goes_on_with_the_same_model() -> None:
    harness = Harness()
    harness.hello(budget=200)
    documents = [b"%d" % number * 400 for number in range(8)]
    harness.ask(b"1", documents)
    first = harness.pull()
    assert first is not None
    harness.answer(first)
    harness.take(harness.broker.worker_message(b"worker", WorkerBye("stopped"), harness.now))
    harness.hello(b"next")
    harness.serve(b"next")
    assert harness.scores(b"1") == [logit(b"query", document) for document in documents]


def test_those_who_gave_up_do_not_hold_a_lost_pair() -> None:
    harness = Harness()
    harness.hello()
    for number in range(50):
        harness.ask(b"%d" % number, [b"same"], peer=b"p%d" % number, deadline_ms=1000)
    assert harness.pull() is not None
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    harness.tick(2)
    assert harness.broker.idle
    harness.hello(b"next")
    assert harness.pull(b"next") is None
    assert not harness.broker._queue._isolated


def test_a_request_that_holds_the_failing_pair_twice_is_answered_once() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"a"])
    for _ in range(2):
        batch = harness.pull()
        assert batch is not None
        assert len(batch.pairs) == 1
        harness.say(BatchFailed(batch.batch, "hiccup"))
    assert harness.refusal(b"1").code == "failed"
