"""What the broker promises, event by event. No socket, no clock."""

from openvino_reranker.broker.circuit_breaker import REFUSE_S
from openvino_reranker.broker.peer import Peer
from openvino_reranker.protocol.client_messages import Cancel, Hello, Refusal, Scores, Welcome
from openvino_reranker.protocol.codec import encode
from openvino_reranker.protocol.errors import InvalidRequest
from openvino_reranker.protocol.limits import Limits
from openvino_reranker.protocol.status_messages import GetStatus, Status
from openvino_reranker.protocol.timeouts import DEFAULT_TIMEOUTS
from openvino_reranker.protocol.worker_messages import (
    Batch,
    BatchFailed,
    Dismissed,
    PairError,
    Progress,
    WorkerBye,
    WorkerStarting,
    WorkerState,
)
from openvino_reranker.tests.broker.harness import Harness, logit


def test_a_request_is_answered_with_a_logit_per_document_in_order() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"b", b"aaa", b""])
    assert harness.serve() == 1
    assert harness.scores(b"1") == [logit(b"query", each) for each in (b"b", b"aaa", b"")]
    assert harness.broker.idle


def test_a_waiting_pull_is_answered_the_moment_a_request_comes() -> None:
    harness = Harness()
    harness.hello()
    assert harness.pull() is None
    harness.ask(b"1", [b"a"])
    assert harness.broker.summary() == "1 requests, 0 pairs waiting, 1 batches in flight, worker busy"


def test_pairs_of_several_callers_share_a_batch() -> None:
    harness = Harness()
    harness.hello()
    for number in range(8):
        harness.ask(b"%d" % number, [b"text %d" % number], peer=b"peer%d" % number)
    assert harness.serve() == 1
    report = harness.broker.counters.report()
    assert report["callers_per_batch"] == 8
    assert all(len(harness.answers(b"%d" % number)) == 1 for number in range(8))


def test_a_request_larger_than_a_batch_is_split_and_put_together_again() -> None:
    harness = Harness()
    harness.hello(budget=400)
    documents = [b"%03d " % number * 40 for number in range(50)]
    harness.ask(b"1", documents)
    assert harness.serve() > 5
    assert harness.scores(b"1") == [logit(b"query", each) for each in documents]


def tokens_of(batch: Batch | None) -> int:
    assert batch is not None
    return sum(3 + len(document) // 4 for _, document in batch.pairs)


def test_batches_are_deep_where_much_waits_and_short_beside_bulk() -> None:
    harness = Harness(batch_ms=1000)  # the harness computes a token a millisecond
    harness.hello()
    harness.ask(b"first", [b"x" * 400])
    harness.serve()
    texts = [b"%03d" % number + b"x" * 397 for number in range(400)]  # 103 tokens each
    harness.ask(b"many", texts)
    deep = harness.pull()
    assert 2800 < tokens_of(deep) < 3200
    harness.ask(b"job", [b"bulk" + text for text in texts[:10]], peer=b"other", bulk=True)
    short = harness.pull()
    assert 900 < tokens_of(short) < 1100
    assert deep is not None
    assert short is not None
    harness.answer(deep)
    harness.answer(short)
    harness.serve()
    assert len(harness.scores(b"many")) == 400


def test_identical_waiting_pairs_are_computed_once() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"same", b"other", b"same"], peer=b"a")
    harness.ask(b"2", [b"same"], peer=b"b")
    harness.ask(b"3", [b"same"], peer=b"c", query=b"another query")
    batch = harness.pull()
    assert batch is not None
    assert len(batch.pairs) == 3
    harness.answer(batch)
    assert harness.scores(b"1") == [logit(b"query", each) for each in (b"same", b"other", b"same")]
    assert harness.scores(b"2") == [logit(b"query", b"same")]
    assert harness.scores(b"3") == [logit(b"another query", b"same")]
    assert harness.broker.counters.joined_pairs == 2


def test_identical_pairs_outlive_the_caller_that_came_first() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"same"], peer=b"a")
    harness.ask(b"2", [b"same"], peer=b"b")
    harness.take(harness.broker.client_gone(b"a", harness.now))
    harness.serve()
    assert harness.scores(b"2") == [logit(b"query", b"same")]
    assert not harness.answers(b"1")


def test_a_small_caller_is_served_beside_a_large_one() -> None:
    harness = Harness()
    harness.hello(budget=2048)
    harness.ask(b"bulk", [b"x%04d " % number * 80 for number in range(1000)], peer=b"large")
    harness.answer(harness.pull())  # type: ignore[arg-type]
    harness.ask(b"small", [b"y%d " % number * 80 for number in range(5)], peer=b"small")
    batches = 0
    while not harness.answers(b"small"):
        batches += 1
        harness.answer(harness.pull())  # type: ignore[arg-type]
    assert batches <= 2


def test_bulk_gives_way_but_is_never_starved() -> None:
    harness = Harness()
    harness.hello(budget=256)
    harness.ask(b"bulk", [b"b" * 600], peer=b"bulk", bulk=True)
    for batches in range(1, 30):
        harness.ask(b"i%d" % batches, [b"%03d" % batches * 200], peer=b"fast%d" % batches)
        harness.ask(b"j%d" % batches, [b"%03d" % batches * 199], peer=b"more%d" % batches)
        harness.answer(harness.pull())  # type: ignore[arg-type]
        if harness.answers(b"bulk"):
            assert 1 < batches <= 8
            return
    raise AssertionError("bulk was starved")


def test_a_deadline_is_answered_once_and_its_pairs_never_start() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"b"], deadline_ms=200)
    assert harness.broker.next_wakeup() == harness.now + 0.2
    harness.tick(0.2)
    assert harness.refusal(b"1").code == "deadline_exceeded"
    assert "0 of 2 documents" in harness.refusal(b"1").message
    assert harness.pull() is None
    assert harness.broker.idle


def test_a_result_after_the_deadline_is_dropped() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], deadline_ms=200)
    batch = harness.pull()
    harness.tick(0.3)
    assert batch is not None
    harness.answer(batch)
    assert len(harness.answers(b"1")) == 1


def test_without_a_worker_a_request_waits_and_then_is_unavailable() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"], deadline_ms=500)
    harness.tick(0.4)
    assert not harness.answers(b"1")
    harness.tick(0.2)
    assert harness.refusal(b"1").code == "unavailable"
    assert "no worker" in harness.refusal(b"1").message


def test_a_request_waits_for_a_worker_that_comes_in_time() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"])
    harness.tick(5)
    harness.hello()
    harness.serve()
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_pairs_of_a_lost_batch_run_again_each_alone() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"b"])
    harness.pull()
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    harness.hello(b"second")
    for _ in range(2):
        batch = harness.pull(b"second")
        assert batch is not None
        assert len(batch.pairs) == 1
        harness.answer(batch, b"second")
    assert harness.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]
    assert harness.broker.counters.retried_pairs == 2


def test_a_pair_that_is_lost_alone_fails_and_takes_nobody_with_it() -> None:
    harness = Harness()
    harness.hello(b"w0")
    harness.ask(b"bad", [b"poison"], peer=b"a")
    harness.ask(b"good", [b"fine"], peer=b"b")
    deaths = 0
    worker = b"w0"
    while (batch := harness.pull(worker)) is not None:
        if any(document == b"poison" for _, document in batch.pairs):
            harness.take(harness.broker.worker_gone(worker, harness.now))
            deaths += 1
            worker = b"w%d" % deaths
            harness.hello(worker)
        else:
            harness.answer(batch, worker)
    assert deaths == 2
    assert harness.refusal(b"bad").code == "failed"
    assert "documents[0]" in harness.refusal(b"bad").message
    assert harness.scores(b"good") == [logit(b"query", b"fine")]


def test_a_pair_that_runs_alone_is_all_that_the_worker_holds() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"b"])
    harness.pull()
    harness.ask(b"2", [b"c"])
    assert harness.pull() is not None
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    harness.hello(b"second")
    for _ in range(3):
        batch = harness.pull(b"second")
        assert batch is not None
        assert len(batch.pairs) == 1
        assert harness.pull(b"second") is None  # the second pull waits until the first is answered
        harness.answer(batch, b"second")
    assert harness.scores(b"1")
    assert harness.scores(b"2")


def test_a_batch_that_failed_on_a_living_worker_is_retried_alone() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"b"])
    batch = harness.pull()
    assert batch is not None
    harness.take(harness.broker.worker_message(b"worker", BatchFailed(batch.batch, "device hiccup"), harness.now))
    assert harness.serve() == 2
    assert harness.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]


def test_the_result_of_a_batch_given_up_is_dropped() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    batch = harness.pull()
    assert batch is not None
    harness.tick(DEFAULT_TIMEOUTS.broker_silence + 0.1)
    assert harness.broker.counters.worker_losses == 1
    harness.answer(batch)
    assert isinstance(harness.to_workers[-1][1], Dismissed)
    assert not harness.answers(b"1")


def test_a_worker_stuck_in_its_device_is_given_up_although_it_speaks() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], deadline_ms=300_000)
    harness.pull()
    for second in range(int(DEFAULT_TIMEOUTS.broker_stall) + 5):
        harness.now += 1
        progress = Progress(second * 1000.0)
        harness.take(harness.broker.worker_message(b"worker", progress, harness.now))
        harness.tick(0)
    assert harness.broker.counters.worker_losses == 1
    assert any("finished nothing" in note for note in harness.notes)


def test_a_second_worker_takes_the_place_of_the_first() -> None:
    harness = Harness()
    harness.hello(b"old")
    harness.ask(b"1", [b"a"])
    batch = harness.pull(b"old")
    harness.hello(b"new")
    assert any(who == b"old" and isinstance(message, Dismissed) for who, message in harness.to_workers)
    assert batch is not None
    harness.answer(batch, b"old")
    assert not harness.answers(b"1")
    harness.serve(b"new")
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_a_worker_that_says_hello_again_is_no_loss() -> None:
    harness = Harness()
    harness.hello()
    harness.hello()
    assert harness.broker.counters.worker_losses == 0


def test_a_workers_goodbye_is_no_loss_and_loses_nothing() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.pull()
    harness.take(harness.broker.worker_message(b"worker", WorkerBye("stopped"), harness.now))
    assert harness.broker.counters.worker_losses == 0
    harness.hello(b"next")
    harness.serve(b"next")
    assert harness.scores(b"1") == [logit(b"query", b"a")]


def test_three_losses_in_a_row_refuse_new_requests_and_say_why() -> None:
    harness = Harness()
    for number in range(3):
        harness.hello(b"w%d" % number)
        harness.ask(b"r%d" % number, [b"%d" % number], peer=b"p%d" % number)
        harness.pull(b"w%d" % number)
        harness.take(harness.broker.worker_gone(b"w%d" % number, harness.now))
    harness.ask(b"new", [b"a"])
    refusal = harness.refusal(b"new")
    assert refusal.code == "unavailable"
    assert "3 times in a row" in refusal.message
    assert refusal.retry_after_ms is not None
    harness.now += REFUSE_S
    harness.hello(b"well")
    harness.ask(b"later", [b"a"])
    harness.serve(b"well")
    assert harness.scores(b"later") == [logit(b"query", b"a")]
    assert harness.broker.ready(harness.now) == (True, "ready")


def test_cancelling_frees_what_has_not_started() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a", b"b"])
    harness.take(harness.broker.client_message(Peer(b"peer", "peer", True), Cancel(b"1"), harness.now))
    assert harness.broker.idle
    assert harness.broker.counters.cancelled_pairs == 2
    harness.hello()
    assert harness.pull() is None
    assert not harness.answers(b"1")


def test_a_closed_connection_takes_its_requests_with_it_and_nobody_elses() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"], peer=b"gone")
    harness.ask(b"1", [b"a"], peer=b"stays")
    harness.take(harness.broker.client_gone(b"gone", harness.now))
    harness.hello()
    harness.serve()
    assert [peer for peer, message in harness.to_clients if isinstance(message, Scores)] == [b"stays"]


def test_asking_twice_with_one_id_is_answered_once() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.ask(b"1", [b"a"])
    harness.serve()
    assert len(harness.answers(b"1")) == 1


def test_queue_bounds_are_refused_with_the_bounds_name_and_when_to_come_back() -> None:
    harness = Harness(Limits(queued_pairs=10, caller_pairs=6, queued_bytes=1000, caller_bytes=500))
    harness.ask(b"1", [b"x%d" % number for number in range(6)], peer=b"a")
    harness.ask(b"2", [b"y"], peer=b"a")
    assert "caller_pairs would be 7, the limit is 6" in harness.refusal(b"2").message
    harness.ask(b"3", [b"z%d" % number for number in range(5)], peer=b"b")
    assert "queued_pairs would be 11, the limit is 10" in harness.refusal(b"3").message
    harness.ask(b"4", [b"z" * 600], peer=b"c")
    assert "caller_bytes" in harness.refusal(b"4").message
    for request_id in (b"2", b"3", b"4"):
        refusal = harness.refusal(request_id)
        assert refusal.code == "overloaded"
        assert refusal.retry_after_ms is not None
        assert refusal.retry_after_ms >= 1000
    harness.hello()
    harness.serve()
    harness.ask(b"5", [b"y"], peer=b"a")
    harness.serve()
    assert harness.scores(b"5")


def test_a_request_over_its_own_bounds_is_refused_by_name() -> None:
    harness = Harness(Limits(documents=3, document_bytes=10, query_bytes=8, request_bytes=20))
    for request_id, query, documents, code, text in (
        (b"1", b"q", [b"a"] * 4, "too_large", "the limit is 3"),
        (b"2", b"q", [b"a", b"b" * 11], "too_large", "documents[1] has 11 bytes"),
        (b"3", b"q" * 9, [b"a"], "too_large", "query has 9 bytes"),
        (b"4", b"q", [b"a" * 9, b"b" * 9, b"c" * 9], "too_large", "at least 27 bytes together"),
        (b"5", b" ", [b"a"], "invalid_request", "query is empty"),
        (b"6", b"q", [], "invalid_request", "documents is empty"),
        (b"7", b"q", [b"ok", b"\xff"], "invalid_request", "documents[1] is not valid UTF-8"),
    ):
        harness.ask(request_id, documents, query=query)
        assert harness.refusal(request_id).code == code
        assert text in harness.refusal(request_id).message
    assert harness.broker.idle


def test_an_error_of_one_pair_answers_its_request_alone() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], peer=b"a", query=b"far too long")
    harness.ask(b"2", [b"a"], peer=b"b")
    batch = harness.pull()
    assert batch is not None
    position = next(place for place, (query, _) in enumerate(batch.pairs) if batch.queries[query] == b"far too long")
    harness.answer(batch, errors=[PairError(position, "invalid_request", "query has 600 tokens")])
    assert harness.refusal(b"1").code == "invalid_request"
    assert harness.scores(b"2")


def test_a_logit_that_is_no_number_fails_its_request() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], peer=b"a")
    harness.ask(b"2", [b"b"], peer=b"b")
    batch = harness.pull()
    assert batch is not None
    harness.answer_with(batch, [float("nan") if document == b"a" else 1.0 for _, document in batch.pairs])
    assert harness.refusal(b"1").code == "failed"
    assert harness.scores(b"2") == [1.0]


def test_a_result_of_the_wrong_length_is_retried_not_believed() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"b"])
    batch = harness.pull()
    assert batch is not None
    harness.answer_with(batch, [1.0])
    assert not harness.answers(b"1")
    harness.serve()
    assert harness.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]


def test_draining_refuses_new_requests_and_answers_old_ones() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"old", [b"a"])
    harness.take(harness.broker.drain())
    harness.ask(b"new", [b"a"])
    assert harness.refusal(b"new").code == "unavailable"
    harness.serve()
    assert harness.scores(b"old")
    assert harness.broker.idle


def test_while_draining_a_worker_that_left_is_not_waited_for() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"])
    # One that is loading may still answer; as long as nothing drains, the next one may.
    harness.say(WorkerStarting(7, "compiling"), b"loading")
    harness.take(harness.broker.drain())
    assert harness.broker.expects_worker
    harness.hello(b"loading")
    assert harness.broker.expects_worker
    harness.say(WorkerBye("stopped"), b"loading")
    harness.take(harness.broker.worker_gone(b"loading", harness.now))
    assert not harness.broker.expects_worker
    assert not harness.answers(b"1")  # where the socket outlives the broker, the next one answers


def test_what_is_left_at_the_end_is_told_so() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"])
    harness.take(harness.broker.abandon(harness.now))
    assert harness.refusal(b"1").code == "unavailable"
    assert harness.broker.counters.abandoned_requests == 1


def test_hello_and_status_and_nonsense_are_answered() -> None:
    harness = Harness()
    peer = Peer(b"peer", "0:7", True)
    harness.take(harness.broker.client_message(peer, Hello("http_front", 7), harness.now))
    harness.hello()
    harness.take(harness.broker.worker_message(b"worker", WorkerState({"compiling": "3/7"}), harness.now))
    harness.take(harness.broker.client_message(peer, GetStatus(b"s"), harness.now))
    harness.take(harness.broker.client_malformed(b"peer", InvalidRequest("what?")))
    welcome, status, refusal = (message for _, message in harness.to_clients)
    assert isinstance(welcome, Welcome)
    assert welcome.epoch == "epoch"
    assert isinstance(status, Status)
    assert status.ready
    assert status.peers == {"http_front": [7]}
    assert status.worker.details == {"compiling": "3/7"}
    assert refusal == Refusal(b"", "invalid_request", "what?")
    harness.take(harness.broker.client_gone(b"peer", harness.now))
    harness.take(harness.broker.client_message(peer, GetStatus(b"t"), harness.now))
    assert isinstance(harness.to_clients[-1][1], Status)
    assert harness.to_clients[-1][1].peers == {}


def test_a_worker_that_is_starting_says_what_it_does() -> None:
    harness = Harness()
    harness.take(harness.broker.worker_message(b"starting", WorkerStarting(7, "compiling 3/7"), harness.now))
    assert harness.broker.ready(harness.now)[1].endswith("(pid 7) says: compiling 3/7")
    harness.ask(b"1", [b"a"])
    harness.hello()
    harness.serve()
    assert harness.scores(b"1")
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    assert "compiling 3/7" in harness.broker.ready(harness.now)[1]
    harness.take(harness.broker.worker_gone(b"starting", harness.now))
    assert "not running" in harness.broker.ready(harness.now)[1]


def test_only_the_brokers_own_user_may_speak_for_others() -> None:
    harness = Harness()
    harness.hello()
    stranger = Peer(b"stranger", "1001:5", trusted=False)
    harness.ask(b"1", [b"a"], peer=b"front", caller="one")
    harness.ask(b"2", [b"b"], peer=b"front", caller="two")
    from openvino_reranker.protocol.client_messages import Rerank

    for request_id in (b"3", b"4"):
        message = Rerank(request_id, b"query", [request_id], caller=request_id.decode())
        harness.take(harness.broker.client_message(stranger, message, harness.now))
    harness.serve()
    assert harness.broker.counters.report()["callers_per_batch"] == 3


def test_timings_and_busy_time_are_those_of_the_batches_that_served() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.now += 0.05
    batch = harness.pull()
    harness.now += 0.02
    assert batch is not None
    harness.answer(batch)
    (answer,) = harness.answers(b"1")
    assert isinstance(answer, Scores)
    assert answer.timings_ms.queue == 50.0
    assert answer.timings_ms.total == 70.0
    assert answer.timings_ms.inference == 3.0
    assert answer.served.npu_busy_delta_us is None


def test_a_status_names_each_process_once_and_a_bounded_number_of_them() -> None:
    harness = Harness()
    for number in range(2000):
        greedy = Peer(b"greedy %d" % number, "0:1", trusted=True)
        harness.take(harness.broker.client_message(greedy, Hello(f"{number:04}".ljust(64, "x"), number), harness.now))
    for number in range(300):
        peer = Peer(b"peer %d" % number, f"0:{100 + number}", trusted=True)
        harness.take(harness.broker.client_message(peer, Hello("client", 100 + number), harness.now))
    asks = Peer(b"asks", "0:9", trusted=True)
    harness.take(harness.broker.client_message(asks, GetStatus(b"s"), harness.now))
    status = harness.to_clients[-1][1]
    assert isinstance(status, Status)
    assert status.peers == {"1999".ljust(64, "x"): [1999], "client": list(range(100, 199))}
    assert len(encode(status)[1]) < 5000
