"""Whose fault a lost pair is: what has been lost alone has failed only if it may have been the cause."""

import pytest
from openvino_reranker.broker.worker_session import WAITS_S
from openvino_reranker.protocol.messages import Batch, BatchFailed, Progress, WorkerBye
from openvino_reranker.tests.broker.harness import Bench, logit


def one_alone(bench: Bench) -> Batch:
    """Have a worker hold one pair alone, because the batch it was in had failed."""
    bench.hello()
    bench.ask(b"1", [b"a"])
    batch = bench.pull()
    assert batch is not None
    bench.take(bench.broker.worker_message(b"worker", BatchFailed(batch.batch, "hiccup"), bench.now))
    alone = bench.pull()
    assert alone is not None
    return alone


def expect_scores(bench: Bench, worker: bytes) -> None:
    bench.serve(worker)
    assert bench.scores(b"1") == [logit(b"query", b"a")]


def test_a_worker_that_is_told_to_stop_blames_nobody() -> None:
    bench = Bench()
    one_alone(bench)
    bench.take(bench.broker.worker_message(b"worker", WorkerBye("stopped"), bench.now))
    bench.hello(b"next")
    expect_scores(bench, b"next")


def test_a_worker_whose_device_failed_blames_what_it_held() -> None:
    bench = Bench()
    one_alone(bench)
    bench.take(bench.broker.worker_message(b"worker", WorkerBye("the device hung", fault=True), bench.now))
    assert bench.refusal(b"1").code == "failed"


def test_a_worker_that_says_hello_again_blames_nobody() -> None:
    bench = Bench()
    one_alone(bench)
    bench.hello()
    expect_scores(bench, b"worker")


def test_a_worker_that_is_replaced_blames_nobody_and_is_no_loss_in_a_row() -> None:
    bench = Bench()
    one_alone(bench)
    for number in range(4):
        bench.hello(b"w%d" % number)
        assert bench.pull(b"w%d" % number) is not None
    bench.hello(b"last")
    assert bench.broker.ready(bench.now) == (True, "ready")
    expect_scores(bench, b"last")


def test_a_pair_that_was_lost_once_without_blame_has_two_losses_left() -> None:
    bench = Bench()
    bench.hello(b"w0")
    bench.ask(b"1", [b"a"])
    bench.pull(b"w0")
    for number in range(1, 3):
        bench.hello(b"w%d" % number)  # takes the place of the one before
        assert bench.pull(b"w%d" % number) is not None
    bench.take(bench.broker.worker_gone(b"w2", bench.now))
    assert not bench.answers(b"1")
    bench.hello(b"w3")
    assert bench.pull(b"w3") is not None
    bench.take(bench.broker.worker_gone(b"w3", bench.now))
    assert bench.refusal(b"1").code == "failed"


def test_a_batch_that_could_not_be_sent_blames_nobody() -> None:
    bench = Bench()
    alone = one_alone(bench)
    bench.take(bench.broker.batch_undelivered(b"worker", alone.batch, bench.now))
    bench.hello(b"next")
    expect_scores(bench, b"next")


def test_a_pair_that_waits_for_its_shape_holds_nobody_up_and_is_not_to_blame() -> None:
    bench = Bench()
    alone = one_alone(bench)
    bench.ask(b"2", [b"b"])
    assert bench.pull() is None
    bench.now += WAITS_S + 0.1
    bench.take(bench.broker.worker_message(b"worker", Progress(0.0), bench.now))  # the device has nothing to do
    other = bench.pull()
    assert other is not None
    assert [document for _, document in other.pairs] == [b"b"]
    bench.answer(other)
    assert bench.scores(b"2") == [logit(b"query", b"b")]
    bench.take(bench.broker.worker_gone(b"worker", bench.now))
    bench.hello(b"next")
    expect_scores(bench, b"next")
    bench.answer(alone)  # too late, and of no consequence


def test_a_pair_that_is_on_the_device_for_long_is_still_alone() -> None:
    bench = Bench()
    one_alone(bench)
    bench.ask(b"2", [b"b"])
    bench.now += WAITS_S + 0.1
    bench.take(bench.broker.worker_message(b"worker", Progress(WAITS_S * 1000), bench.now))
    assert bench.pull() is None


def test_of_two_pairs_that_waited_for_their_shape_only_one_is_sent() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"c"])
    batch = bench.pull()
    assert batch is not None
    bench.take(bench.broker.worker_message(b"worker", BatchFailed(batch.batch, "hiccup"), bench.now))
    assert bench.pull() is not None
    bench.now += WAITS_S + 0.1
    bench.take(bench.broker.worker_message(b"worker", Progress(0.0), bench.now))
    assert bench.pull() is None


@pytest.mark.parametrize("half_done", [False, True])
def test_a_request_is_never_answered_by_two_models(half_done: bool) -> None:
    bench = Bench()
    bench.hello(budget=200)
    bench.ask(b"1", [b"%d" % number * 400 for number in range(8)])
    first = bench.pull()
    assert first is not None
    assert len(first.pairs) < 8
    if half_done:
        bench.answer(first)
    bench.take(bench.broker.worker_message(b"worker", WorkerBye("stopped"), bench.now))
    bench.hello(b"other", model="another model")
    bench.serve(b"other")
    if half_done:
        assert bench.refusal(b"1").code == "unavailable"
        assert "changed from model on CPU (f32) to another" in bench.refusal(b"1").message
    else:
        assert len(bench.scores(b"1")) == 8
    assert bench.broker.idle


def test_a_request_half_done_goes_on_with_the_same_model() -> None:
    bench = Bench()
    bench.hello(budget=200)
    documents = [b"%d" % number * 400 for number in range(8)]
    bench.ask(b"1", documents)
    first = bench.pull()
    assert first is not None
    bench.answer(first)
    bench.take(bench.broker.worker_message(b"worker", WorkerBye("stopped"), bench.now))
    bench.hello(b"next")
    bench.serve(b"next")
    assert bench.scores(b"1") == [logit(b"query", document) for document in documents]


def test_those_who_gave_up_do_not_hold_a_lost_pair() -> None:
    bench = Bench()
    bench.hello()
    for number in range(50):
        bench.ask(b"%d" % number, [b"same"], peer=b"p%d" % number, deadline_ms=1000)
    assert bench.pull() is not None
    bench.take(bench.broker.worker_gone(b"worker", bench.now))
    bench.tick(2)
    assert bench.broker.idle
    bench.hello(b"next")
    assert bench.pull(b"next") is None
    assert not bench.broker._desk.waiting._alone
