"""Long documents in the queue: their windows wait, count and fail like pairs; the best one is the document's score."""

import pytest
from openvino_reranker.broker.peer import Peer
from openvino_reranker.protocol.client_messages import Cancel, Scores, WindowedDocument
from openvino_reranker.protocol.worker_messages import Batch, BatchResult, PairError, PairWindows, Window, WorkerBye
from openvino_reranker.tests.broker.harness import Harness

LONG = b"0123456789" * 30


def answer(harness: Harness, batch: Batch, logits: dict[bytes, float], errors: list[PairError] | None = None) -> None:
    """Answer as a worker that reads 100 bytes at once would; ``logits`` by the text of a window."""
    read, windowed = [], []
    for position, ((_, text), plan) in enumerate(zip(batch.pairs, batch.plans, strict=True)):
        if len(text) > 100 and plan.max_windows > 1:
            starts = range(0, len(text), 100)[: plan.max_windows]
            windowed.append(PairWindows(position, [Window(start, start + 100, 28) for start in starts]))
        read.append(text[:100])
    result = BatchResult(
        batch.batch,
        [logits.get(text, 0.0) for text in read],
        [28] * len(read),
        [],
        errors or [],
        28 * len(read),
        1,
        1.0,
        windows=windowed,
    )
    harness.say(result)


def pulled(harness: Harness) -> Batch:
    batch = harness.pull()
    assert batch is not None
    return batch


def first_answer(harness: Harness, request_id: bytes) -> Scores:
    (message,) = harness.answers(request_id)
    assert isinstance(message, Scores)
    return message


def distinct(windows: int) -> list[bytes]:
    return [b"%02d" % number * 50 for number in range(windows)]


@pytest.mark.parametrize("best", range(3))
def test_the_best_window_is_the_documents_score_and_is_named(best: int) -> None:
    harness = Harness()
    harness.hello()
    parts = distinct(3)
    harness.ask(b"1", [b"short", b"".join(parts)])
    logits = dict.fromkeys(parts, -1.0) | {parts[best]: 5.0, b"short": 2.0}
    answer(harness, pulled(harness), logits)
    assert not harness.answers(b"1")
    second = pulled(harness)
    assert {text for _, text in second.pairs} == set(parts[1:])
    answer(harness, second, logits)
    scores = first_answer(harness, b"1")
    assert scores.scores == [2.0, 5.0]
    assert scores.windowed == [WindowedDocument(1, 3, best * 100, best * 100 + 100)]
    assert scores.tokens == 4 * 28
    assert harness.broker.idle
    assert harness.broker.counters.window_pairs == 2


def test_one_window_reads_the_beginning_alone() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [LONG], max_windows=1)
    answer(harness, pulled(harness), {LONG[:100]: 3.0})
    assert first_answer(harness, b"1").windowed == []


def test_windows_wait_for_their_callers_turn() -> None:
    harness = Harness()
    harness.hello(budget=64)
    harness.ask(b"long", [b"".join(distinct(30))], peer=b"a", max_windows=30)
    answer(harness, pulled(harness), {})
    harness.ask(b"short", [b"tiny"], peer=b"b")
    for _ in range(12):
        answer(harness, pulled(harness), {})
        if harness.answers(b"short"):
            break
    else:
        raise AssertionError("thirty windows of one caller held up another's only pair")
    assert not harness.answers(b"long")


def test_windows_of_a_cancelled_request_never_start() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"".join(distinct(3))])
    answer(harness, pulled(harness), {})
    harness.take(harness.broker.client_message(Peer(b"peer", "peer", True), Cancel(b"1"), harness.now))
    assert harness.pull() is None
    assert harness.broker.idle
    assert harness.broker.summary() == "0 requests, 0 pairs waiting, 0 batches in flight, worker idle"


def test_a_window_that_fails_twice_fails_its_document_by_name() -> None:
    harness = Harness()
    harness.hello(b"w0")
    harness.ask(b"1", [b"short", b"".join(distinct(3))])
    batch = harness.pull(b"w0")
    assert batch is not None
    harness.take(harness.broker.worker_message(b"w0", windows_of(batch), harness.now))
    for number in range(1, 3):
        assert harness.pull(b"w%d" % (number - 1)) is not None
        harness.say(WorkerBye("hung", fault=True), b"w%d" % (number - 1))
        harness.hello(b"w%d" % number)
    assert "documents[1] failed on the device twice" in harness.refusal(b"1").message


def windows_of(batch: Batch) -> BatchResult:
    position = next(place for place, (_, text) in enumerate(batch.pairs) if len(text) > 100)
    windows = PairWindows(position, [Window(start, start + 100, 28) for start in (0, 100, 200)])
    return BatchResult(batch.batch, [0.0, 0.0], [28, 28], [], [], 56, 1, 1.0, windows=[windows])


def test_a_deadline_counts_the_documents_that_are_wholly_scored() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"short", b"".join(distinct(3))], deadline_ms=1000)
    answer(harness, pulled(harness), {})
    harness.tick(1.1)
    assert "1 of 2 documents were scored" in harness.refusal(b"1").message


def test_too_many_windows_are_refused_by_the_bounds_name() -> None:
    harness = Harness()
    harness.ask(b"1", [b"a"], max_windows=65)
    assert harness.refusal(b"1").message == "max_windows is 65; the limit is 64"
