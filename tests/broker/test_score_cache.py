"""The score cache: nothing is computed twice, nothing is said that was not computed."""

import tracemalloc

from openvino_reranker.broker.request import DocumentScore
from openvino_reranker.broker.score_cache import ENTRY_BYTES, ScoreCache
from openvino_reranker.protocol.client_messages import Scores
from openvino_reranker.protocol.worker_messages import BatchResult, WindowPlan, WorkerBye, WorkerHello
from openvino_reranker.tests.broker.harness import Harness, logit

KEY = (b"query", b"text", WindowPlan(4))


def answered(harness: Harness, request_id: bytes) -> Scores:
    (message,) = harness.answers(request_id)
    assert isinstance(message, Scores), message
    return message


def test_a_repeated_request_is_answered_at_once_and_bit_identical() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a", b"bb"])
    harness.serve()
    harness.ask(b"2", [b"bb", b"a"])
    first, second = answered(harness, b"1"), answered(harness, b"2")
    assert second.scores == first.scores[::-1]
    assert (second.tokens, second.cached, first.cached) == (first.tokens, 2, 0)
    assert second.timings_ms.inference == 0
    assert harness.broker.counters.cached_pairs == 2
    assert harness.broker.counters.batch_pairs == 2
    assert harness.broker.idle


def test_what_is_not_known_is_asked_of_the_device_alone() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.serve()
    harness.ask(b"2", [b"a", b"new"])
    batch = harness.pull()
    assert batch is not None
    assert [text for _, text in batch.pairs] == [b"new"]
    harness.answer(batch)
    assert answered(harness, b"2").scores == [logit(b"query", b"a"), logit(b"query", b"new")]
    assert answered(harness, b"2").cached == 1


def test_the_texts_and_the_way_of_reading_all_count() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.serve()
    harness.ask(b"2", [b"a "])
    harness.ask(b"3", [b"a"], query=b"query ")
    harness.ask(b"4", [b"a"], max_windows=7)
    assert not [number for number in (b"2", b"3", b"4") if harness.answers(number)]
    digests = {
        ScoreCache(0).digest(key)
        for key in ((b"ab", b"c", WindowPlan()), (b"a", b"bc", WindowPlan()), (b"", b"abc", WindowPlan()))
    }
    assert len(digests) == 3


def test_another_model_forgets_and_a_restart_of_the_same_does_not() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.serve()
    harness.say(WorkerBye("stopped"))
    harness.ask(b"2", [b"a"])
    assert not harness.answers(b"2")  # nobody serves: which model will is not known
    harness.hello(b"same")
    harness.serve(b"same")
    harness.ask(b"3", [b"a"])
    assert answered(harness, b"3").cached == 1
    harness.hello(b"other", model="other")
    harness.ask(b"4", [b"a"])
    assert not harness.answers(b"4")


def test_an_answer_from_the_cache_alone_proves_no_npu() -> None:
    harness = Harness()
    hello = WorkerHello(1, "model", "NPU", "f16", 512, 8192)
    harness.take(harness.broker.worker_message(b"worker", hello, harness.now))
    harness.ask(b"1", [b"a"])
    batch = harness.pull()
    assert batch is not None
    harness.say(BatchResult(batch.batch, [1.0], [8], [], [], 8, 1, 1.0, 500, 500))
    harness.ask(b"2", [b"a"])
    harness.ask(b"3", [b"a", b"b"])
    batch = harness.pull()
    assert batch is not None
    harness.say(BatchResult(batch.batch, [2.0], [8], [], [], 8, 1, 1.0, 700, 1200))
    seen = [(answered(harness, n).served.npu_busy_delta_us, answered(harness, n).cached) for n in (b"1", b"2", b"3")]
    assert seen == [(500, 0), (0, 1), (700, 1)]


def test_a_pair_that_comes_while_its_like_is_on_the_device_joins_it() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], peer=b"p1")
    batch = harness.pull()
    assert batch is not None
    harness.now += 0.5
    harness.ask(b"2", [b"a", b"b"], peer=b"p2")
    harness.now += 0.5
    harness.answer(batch)
    assert answered(harness, b"1").scores == [logit(b"query", b"a")]
    second = harness.pull()
    assert second is not None
    assert [text for _, text in second.pairs] == [b"b"]
    harness.answer(second)
    assert answered(harness, b"2").scores == [logit(b"query", b"a"), logit(b"query", b"b")]
    assert answered(harness, b"2").timings_ms.queue == 0.0  # its first pair was on the device when it came
    assert harness.broker.counters.joined_pairs == 1


def test_who_joined_a_lost_computation_is_served_too() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"], peer=b"p1")
    assert harness.pull() is not None
    harness.ask(b"2", [b"a"], peer=b"p2")
    harness.take(harness.broker.worker_gone(b"worker", harness.now))
    harness.hello(b"next")
    assert harness.serve(b"next") == 1
    assert answered(harness, b"1").scores == answered(harness, b"2").scores


def test_switched_off_it_keeps_nothing() -> None:
    harness = Harness(cache_bytes=0)
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.serve()
    harness.ask(b"2", [b"a"])
    assert harness.serve() == 1
    assert len(harness.broker._cache) == 0


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    cache = ScoreCache(3 * ENTRY_BYTES)
    digests = [bytes([number]) * 16 for number in range(4)]
    for digest in digests[:3]:
        cache.put(digest, DocumentScore())
    assert cache.get(digests[0]) is not None
    cache.put(digests[3], DocumentScore())
    assert [cache.get(digest) is not None for digest in digests] == [True, False, True, True]
    assert (len(cache), cache.size) == (3, 3 * ENTRY_BYTES)


def test_an_entry_takes_no_more_than_is_counted() -> None:
    cache = ScoreCache(10_000 * ENTRY_BYTES)
    tracemalloc.start()
    for number in range(10_000):
        cache.put(cache.digest((b"q", b"%d" % number, WindowPlan())), DocumentScore(number / 3, number + 1000, True, 2))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown <= cache.size


def test_a_request_may_have_the_device_asked_again() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"a"])
    harness.serve()
    harness.ask(b"2", [b"a"], use_cache=False)
    assert harness.serve() == 1
    assert answered(harness, b"2").cached == 0
    harness.ask(b"3", [b"a"])
    assert answered(harness, b"3").cached == 1
