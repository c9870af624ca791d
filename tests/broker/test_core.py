"""What the broker promises, event by event. No socket, no clock."""

from openvino_reranker.broker.circuit_breaker import REFUSE_S
from openvino_reranker.broker.request_lifecycle import Peer
from openvino_reranker.broker.worker_session import SILENCE_S, STALL_S
from openvino_reranker.protocol.errors import InvalidRequest
from openvino_reranker.protocol.limits import Limits
from openvino_reranker.protocol.messages import (
    BatchFailed,
    Cancel,
    Dismissed,
    GetStatus,
    Hello,
    PairError,
    Progress,
    Refusal,
    Scores,
    Status,
    Welcome,
    WhoAreYou,
    WorkerBye,
    WorkerStarting,
    WorkerState,
)
from openvino_reranker.tests.broker.harness import Bench, logit


def test_a_request_is_answered_with_a_logit_per_document_in_order() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"b", b"aaa", b""])
    assert bench.serve() == 1
    assert bench.scores(b"1") == [logit(b"query", each) for each in (b"b", b"aaa", b"")]
    assert bench.broker.idle


def test_a_waiting_pull_is_answered_the_moment_a_request_comes() -> None:
    bench = Bench()
    bench.hello()
    assert bench.pull() is None
    bench.ask(b"1", [b"a"])
    assert repr(bench.broker) == "<Broker requests=1 waiting=0 inflight=1 worker=busy>"


def test_pairs_of_several_callers_share_a_batch() -> None:
    bench = Bench()
    bench.hello()
    for number in range(8):
        bench.ask(b"%d" % number, [b"text %d" % number], peer=b"peer%d" % number)
    assert bench.serve() == 1
    report = bench.broker.counters.report()
    assert report["callers_per_batch"] == 8
    assert all(len(bench.answers(b"%d" % number)) == 1 for number in range(8))


def test_a_request_larger_than_a_batch_is_split_and_put_together_again() -> None:
    bench = Bench()
    bench.hello(budget=400)
    documents = [b"%03d " % number * 40 for number in range(50)]
    bench.ask(b"1", documents)
    assert bench.serve() > 5
    assert bench.scores(b"1") == [logit(b"query", each) for each in documents]


def test_identical_waiting_pairs_are_computed_once() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"same", b"other", b"same"], peer=b"a")
    bench.ask(b"2", [b"same"], peer=b"b")
    bench.ask(b"3", [b"same"], peer=b"c", query=b"another query")
    batch = bench.pull()
    assert batch is not None
    assert len(batch.pairs) == 3
    bench.answer(batch)
    assert bench.scores(b"1") == [logit(b"query", each) for each in (b"same", b"other", b"same")]
    assert bench.scores(b"2") == [logit(b"query", b"same")]
    assert bench.scores(b"3") == [logit(b"another query", b"same")]
    assert bench.broker.counters.joined_pairs == 2


def test_identical_pairs_outlive_the_caller_that_came_first() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"same"], peer=b"a")
    bench.ask(b"2", [b"same"], peer=b"b")
    bench.take(bench.broker.client_gone(b"a", bench.now))
    bench.serve()
    assert bench.scores(b"2") == [logit(b"query", b"same")]
    assert not bench.answers(b"1")


def test_a_small_caller_is_served_beside_a_large_one() -> None:
    bench = Bench()
    bench.hello(budget=2048)
    bench.ask(b"bulk", [b"x%04d " % number * 80 for number in range(1000)], peer=b"large")
    bench.answer(bench.pull())  # type: ignore[arg-type]
    bench.ask(b"small", [b"y%d " % number * 80 for number in range(5)], peer=b"small")
    batches = 0
    while not bench.answers(b"small"):
        batches += 1
        bench.answer(bench.pull())  # type: ignore[arg-type]
    assert batches <= 2


def test_bulk_gives_way_but_is_never_starved() -> None:
    bench = Bench()
    bench.hello(budget=256)
    bench.ask(b"bulk", [b"b" * 600], peer=b"bulk", bulk=True)
    for batches in range(1, 30):
        bench.ask(b"i%d" % batches, [b"%03d" % batches * 200], peer=b"fast%d" % batches)
        bench.ask(b"j%d" % batches, [b"%03d" % batches * 199], peer=b"more%d" % batches)
        bench.answer(bench.pull())  # type: ignore[arg-type]
        if bench.answers(b"bulk"):
            assert 1 < batches <= 8
            return
    raise AssertionError("bulk was starved")


def test_a_deadline_is_answered_once_and_its_pairs_never_start() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"b"], deadline_ms=200)
    assert bench.broker.next_wakeup() == bench.now + 0.2
    bench.tick(0.2)
    assert bench.refusal(b"1").code == "deadline_exceeded"
    assert "0 of 2 documents" in bench.refusal(b"1").message
    assert bench.pull() is None
    assert bench.broker.idle


def test_a_result_after_the_deadline_is_dropped() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"], deadline_ms=200)
    batch = bench.pull()
    bench.tick(0.3)
    assert batch is not None
    bench.answer(batch)
    assert len(bench.answers(b"1")) == 1


def test_without_a_worker_a_request_waits_and_then_is_unavailable() -> None:
    bench = Bench()
    bench.ask(b"1", [b"a"], deadline_ms=500)
    bench.tick(0.4)
    assert not bench.answers(b"1")
    bench.tick(0.2)
    assert bench.refusal(b"1").code == "unavailable"
    assert "no worker" in bench.refusal(b"1").message


def test_a_request_waits_for_a_worker_that_comes_in_time() -> None:
    bench = Bench()
    bench.ask(b"1", [b"a"])
    bench.tick(5)
    bench.hello()
    bench.serve()
    assert bench.scores(b"1") == [logit(b"query", b"a")]


def test_pairs_of_a_lost_batch_run_again_each_alone() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"b"])
    bench.pull()
    bench.take(bench.broker.worker_gone(b"worker", bench.now))
    bench.hello(b"second")
    for _ in range(2):
        batch = bench.pull(b"second")
        assert batch is not None
        assert len(batch.pairs) == 1
        bench.answer(batch, b"second")
    assert bench.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]
    assert bench.broker.counters.retried_pairs == 2


def test_a_pair_that_is_lost_alone_fails_and_takes_nobody_with_it() -> None:
    bench = Bench()
    bench.hello(b"w0")
    bench.ask(b"bad", [b"poison"], peer=b"a")
    bench.ask(b"good", [b"fine"], peer=b"b")
    deaths = 0
    worker = b"w0"
    while (batch := bench.pull(worker)) is not None:
        if any(document == b"poison" for _, document in batch.pairs):
            bench.take(bench.broker.worker_gone(worker, bench.now))
            deaths += 1
            worker = b"w%d" % deaths
            bench.hello(worker)
        else:
            bench.answer(batch, worker)
    assert deaths == 2
    assert bench.refusal(b"bad").code == "failed"
    assert "documents[0]" in bench.refusal(b"bad").message
    assert bench.scores(b"good") == [logit(b"query", b"fine")]


def test_a_pair_that_runs_alone_is_all_that_the_worker_holds() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"b"])
    bench.pull()
    bench.ask(b"2", [b"c"])
    assert bench.pull() is not None
    bench.take(bench.broker.worker_gone(b"worker", bench.now))
    bench.hello(b"second")
    for _ in range(3):
        batch = bench.pull(b"second")
        assert batch is not None
        assert len(batch.pairs) == 1
        assert bench.pull(b"second") is None  # the second pull waits until the first is answered
        bench.answer(batch, b"second")
    assert bench.scores(b"1")
    assert bench.scores(b"2")


def test_a_batch_that_failed_on_a_living_worker_is_retried_alone() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"b"])
    batch = bench.pull()
    assert batch is not None
    bench.take(bench.broker.worker_message(b"worker", BatchFailed(batch.batch, "device hiccup"), bench.now))
    assert bench.serve() == 2
    assert bench.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]


def test_the_result_of_a_batch_given_up_is_dropped() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"])
    batch = bench.pull()
    assert batch is not None
    bench.tick(SILENCE_S + 0.1)
    assert bench.broker.counters.worker_losses == 1
    bench.answer(batch)
    assert bench.to_workers[-1] == (b"worker", WhoAreYou())
    assert not bench.answers(b"1")


def test_a_worker_stuck_in_its_device_is_given_up_although_it_speaks() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"], deadline_ms=300_000)
    bench.pull()
    for second in range(int(STALL_S) + 5):
        bench.now += 1
        progress = Progress(second * 1000.0)
        bench.take(bench.broker.worker_message(b"worker", progress, bench.now))
        bench.tick(0)
    assert bench.broker.counters.worker_losses == 1
    assert any("finished nothing" in note for note in bench.notes)


def test_a_second_worker_takes_the_place_of_the_first() -> None:
    bench = Bench()
    bench.hello(b"old")
    bench.ask(b"1", [b"a"])
    batch = bench.pull(b"old")
    bench.hello(b"new")
    assert any(who == b"old" and isinstance(message, Dismissed) for who, message in bench.to_workers)
    assert batch is not None
    bench.answer(batch, b"old")
    assert not bench.answers(b"1")
    bench.serve(b"new")
    assert bench.scores(b"1") == [logit(b"query", b"a")]


def test_a_worker_that_says_hello_again_is_no_loss() -> None:
    bench = Bench()
    bench.hello()
    bench.hello()
    assert bench.broker.counters.worker_losses == 0


def test_a_workers_goodbye_is_no_loss_and_loses_nothing() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"])
    bench.pull()
    bench.take(bench.broker.worker_message(b"worker", WorkerBye("stopped"), bench.now))
    assert bench.broker.counters.worker_losses == 0
    bench.hello(b"next")
    bench.serve(b"next")
    assert bench.scores(b"1") == [logit(b"query", b"a")]


def test_three_losses_in_a_row_refuse_new_requests_and_say_why() -> None:
    bench = Bench()
    for number in range(3):
        bench.hello(b"w%d" % number)
        bench.ask(b"r%d" % number, [b"%d" % number], peer=b"p%d" % number)
        bench.pull(b"w%d" % number)
        bench.take(bench.broker.worker_gone(b"w%d" % number, bench.now))
    bench.ask(b"new", [b"a"])
    refusal = bench.refusal(b"new")
    assert refusal.code == "unavailable"
    assert "3 times in a row" in refusal.message
    assert refusal.retry_after_ms is not None
    bench.now += REFUSE_S
    bench.hello(b"well")
    bench.ask(b"later", [b"a"])
    bench.serve(b"well")
    assert bench.scores(b"later") == [logit(b"query", b"a")]
    assert bench.broker.ready(bench.now) == (True, "ready")


def test_cancelling_frees_what_has_not_started() -> None:
    bench = Bench()
    bench.ask(b"1", [b"a", b"b"])
    bench.take(bench.broker.client_message(Peer(b"peer", "peer", True), Cancel(b"1"), bench.now))
    assert bench.broker.idle
    assert bench.broker.counters.cancelled_pairs == 2
    bench.hello()
    assert bench.pull() is None
    assert not bench.answers(b"1")


def test_a_closed_connection_takes_its_requests_with_it_and_nobody_elses() -> None:
    bench = Bench()
    bench.ask(b"1", [b"a"], peer=b"gone")
    bench.ask(b"1", [b"a"], peer=b"stays")
    bench.take(bench.broker.client_gone(b"gone", bench.now))
    bench.hello()
    bench.serve()
    assert [peer for peer, message in bench.to_clients if isinstance(message, Scores)] == [b"stays"]


def test_asking_twice_with_one_id_is_answered_once() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"])
    bench.ask(b"1", [b"a"])
    bench.serve()
    assert len(bench.answers(b"1")) == 1


def test_queue_bounds_are_refused_with_the_bounds_name_and_when_to_come_back() -> None:
    bench = Bench(Limits(queued_pairs=10, caller_pairs=6, queued_bytes=1000, caller_bytes=500))
    bench.ask(b"1", [b"x%d" % number for number in range(6)], peer=b"a")
    bench.ask(b"2", [b"y"], peer=b"a")
    assert "caller_pairs would be 7, the limit is 6" in bench.refusal(b"2").message
    bench.ask(b"3", [b"z%d" % number for number in range(5)], peer=b"b")
    assert "queued_pairs would be 11, the limit is 10" in bench.refusal(b"3").message
    bench.ask(b"4", [b"z" * 600], peer=b"c")
    assert "caller_bytes" in bench.refusal(b"4").message
    for request_id in (b"2", b"3", b"4"):
        refusal = bench.refusal(request_id)
        assert refusal.code == "overloaded"
        assert refusal.retry_after_ms is not None
        assert refusal.retry_after_ms >= 1000
    bench.hello()
    bench.serve()
    bench.ask(b"5", [b"y"], peer=b"a")
    bench.serve()
    assert bench.scores(b"5")


def test_a_request_over_its_own_bounds_is_refused_by_name() -> None:
    bench = Bench(Limits(documents=3, document_bytes=10, query_bytes=8, request_bytes=20))
    for request_id, query, documents, code, text in (
        (b"1", b"q", [b"a"] * 4, "too_large", "the limit is 3"),
        (b"2", b"q", [b"a", b"b" * 11], "too_large", "documents[1] has 11 bytes"),
        (b"3", b"q" * 9, [b"a"], "too_large", "query has 9 bytes"),
        (b"4", b"q", [b"a" * 9, b"b" * 9, b"c" * 9], "too_large", "27 bytes together"),
        (b"5", b" ", [b"a"], "invalid_request", "query is empty"),
        (b"6", b"q", [], "invalid_request", "documents is empty"),
        (b"7", b"q", [b"ok", b"\xff"], "invalid_request", "documents[1] is not valid UTF-8"),
    ):
        bench.ask(request_id, documents, query=query)
        assert bench.refusal(request_id).code == code
        assert text in bench.refusal(request_id).message
    assert bench.broker.idle


def test_an_error_of_one_pair_answers_its_request_alone() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"], peer=b"a", query=b"far too long")
    bench.ask(b"2", [b"a"], peer=b"b")
    batch = bench.pull()
    assert batch is not None
    position = next(place for place, (query, _) in enumerate(batch.pairs) if batch.queries[query] == b"far too long")
    bench.answer(batch, errors=[PairError(position, "invalid_request", "query has 600 tokens")])
    assert bench.refusal(b"1").code == "invalid_request"
    assert bench.scores(b"2")


def test_a_logit_that_is_no_number_fails_its_request() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"], peer=b"a")
    bench.ask(b"2", [b"b"], peer=b"b")
    batch = bench.pull()
    assert batch is not None
    bench.answer_with(batch, [float("nan") if document == b"a" else 1.0 for _, document in batch.pairs])
    assert bench.refusal(b"1").code == "failed"
    assert bench.scores(b"2") == [1.0]


def test_a_result_of_the_wrong_length_is_retried_not_believed() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a", b"b"])
    batch = bench.pull()
    assert batch is not None
    bench.answer_with(batch, [1.0])
    assert not bench.answers(b"1")
    bench.serve()
    assert bench.scores(b"1") == [logit(b"query", each) for each in (b"a", b"b")]


def test_draining_refuses_new_requests_and_answers_old_ones() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"old", [b"a"])
    bench.take(bench.broker.drain())
    bench.ask(b"new", [b"a"])
    assert bench.refusal(b"new").code == "unavailable"
    bench.serve()
    assert bench.scores(b"old")
    assert bench.broker.idle


def test_what_is_left_at_the_end_is_told_so() -> None:
    bench = Bench()
    bench.ask(b"1", [b"a"])
    bench.take(bench.broker.abandon(bench.now))
    assert bench.refusal(b"1").code == "unavailable"


def test_hello_and_status_and_nonsense_are_answered() -> None:
    bench = Bench()
    peer = Peer(b"peer", "0:7", True)
    bench.take(bench.broker.client_message(peer, Hello("http_front", 7), bench.now))
    bench.hello()
    bench.take(bench.broker.worker_message(b"worker", WorkerState({"compiling": "3/7"}), bench.now))
    bench.take(bench.broker.client_message(peer, GetStatus(b"s"), bench.now))
    bench.take(bench.broker.client_malformed(b"peer", InvalidRequest("what?")))
    welcome, status, refusal = (message for _, message in bench.to_clients)
    assert isinstance(welcome, Welcome)
    assert welcome.epoch == "epoch"
    assert isinstance(status, Status)
    assert status.ready
    assert status.peers == {"http_front": [7]}
    assert status.worker.details == {"compiling": "3/7"}
    assert refusal == Refusal(b"", "invalid_request", "what?")
    bench.take(bench.broker.client_gone(b"peer", bench.now))
    bench.take(bench.broker.client_message(peer, GetStatus(b"t"), bench.now))
    assert isinstance(bench.to_clients[-1][1], Status)
    assert bench.to_clients[-1][1].peers == {}


def test_a_worker_that_is_starting_says_what_it_does() -> None:
    bench = Bench()
    bench.take(bench.broker.worker_message(b"starting", WorkerStarting(7, "compiling 3/7"), bench.now))
    assert bench.broker.ready(bench.now)[1].endswith("(pid 7) says: compiling 3/7")
    bench.ask(b"1", [b"a"])
    bench.hello()
    bench.serve()
    assert bench.scores(b"1")
    bench.take(bench.broker.worker_gone(b"worker", bench.now))
    assert "compiling 3/7" in bench.broker.ready(bench.now)[1]
    bench.take(bench.broker.worker_gone(b"starting", bench.now))
    assert "not running" in bench.broker.ready(bench.now)[1]


def test_only_the_brokers_own_user_may_speak_for_others() -> None:
    bench = Bench()
    bench.hello()
    stranger = Peer(b"stranger", "1001:5", trusted=False)
    bench.ask(b"1", [b"a"], peer=b"front", caller="one")
    bench.ask(b"2", [b"b"], peer=b"front", caller="two")
    from openvino_reranker.protocol.messages import Rerank

    for request_id in (b"3", b"4"):
        message = Rerank(request_id, b"query", [request_id], caller=request_id.decode())
        bench.take(bench.broker.client_message(stranger, message, bench.now))
    bench.serve()
    assert bench.broker.counters.report()["callers_per_batch"] == 3


def test_timings_and_busy_time_are_those_of_the_batches_that_served() -> None:
    bench = Bench()
    bench.hello()
    bench.ask(b"1", [b"a"])
    bench.now += 0.05
    batch = bench.pull()
    bench.now += 0.02
    assert batch is not None
    bench.answer(batch)
    (answer,) = bench.answers(b"1")
    assert isinstance(answer, Scores)
    assert answer.timings_ms.queue == 50.0
    assert answer.timings_ms.total == 70.0
    assert answer.timings_ms.inference == 3.0
    assert answer.served.npu_busy_delta_us is None
