"""Status pages show who has had the device lately, in a few lines however many callers there are."""

import math

import pytest
from openvino_reranker.broker.caller_shares import HALF_LIFE_S, SHOWN, CallerShares
from openvino_reranker.broker.peer import Peer
from openvino_reranker.protocol.status_messages import CallerStatus, GetStatus, Status
from openvino_reranker.tests.broker.harness import Harness


def callers_of(harness: Harness) -> list[CallerStatus]:
    harness.take(harness.broker.client_message(Peer(b"p", "p", True), GetStatus(b"s"), harness.now))
    answer = harness.to_clients[-1][1]
    assert isinstance(answer, Status)
    return answer.callers


def nobody_waits(_: str) -> int:
    return 0


def test_a_caller_is_shown_with_what_it_was_given_and_what_it_waits_for() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"x" * 40], caller="1000:1")
    harness.ask(b"2", [b"y" * 400], caller="1000:2")
    assert {(caller.name, caller.tokens, caller.pairs) for caller in callers_of(harness)} == {
        ("1000:1", 0, 1),
        ("1000:2", 0, 1),
    }
    harness.serve()
    harness.ask(b"3", [b"a"], caller="1000:2")  # the worker has asked for it already
    harness.ask(b"4", [b"z", b"zz"], caller="1000:1")
    first, second = callers_of(harness)
    assert (first.name, first.tokens, first.pairs) == ("1000:2", 3 + 100, 0)
    assert (second.name, second.tokens, second.pairs) == ("1000:1", 3 + 10, 2)
    assert first.share == pytest.approx(103 / 116)
    assert first.share + second.share == pytest.approx(1)


def test_identical_pairs_count_for_the_one_that_paid() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"same" * 10], caller="first", peer=b"p1")
    harness.ask(b"2", [b"same" * 10], caller="second", peer=b"p2")
    harness.serve()
    [only] = callers_of(harness)
    assert (only.name, only.share) == ("first", 1.0)


def test_older_tokens_count_less() -> None:
    shares = CallerShares(0.0)
    shares.note([("early", 1000)], 10.0)
    shares.note([("late", 1000)], 10.0 + HALF_LIFE_S)
    late, early = shares.report(10.0 + HALF_LIFE_S, nobody_waits)
    assert (late.name, late.tokens, early.tokens) == ("late", 1000, 500)
    assert late.share == pytest.approx(2 / 3)
    assert [caller.tokens for caller in shares.report(10.0 + 2 * HALF_LIFE_S, nobody_waits)] == [500, 250]
    assert shares.report(10.0 + 20 * HALF_LIFE_S, nobody_waits) == []


def test_years_of_service_are_no_different_from_a_minute() -> None:
    shares = CallerShares(0.0)
    for minute in range(2000):
        shares.note([("a", 1000), ("b", 3000)], minute * HALF_LIFE_S)
    shares.note([("a", 1000)], 1e9)
    [only] = shares.report(1e9, nobody_waits)
    assert only == CallerStatus("a", 1000, 1.0, 0)
    shares.note([("b", 3000)], 1e9)
    assert [caller.share for caller in shares.report(1e9, nobody_waits)] == pytest.approx([0.75, 0.25])
    assert all(math.isfinite(caller.share) for caller in shares.report(1e9, nobody_waits))


def test_any_number_of_callers_takes_bounded_memory_and_few_lines() -> None:
    shares = CallerShares(0.0)
    for number in range(10_000):
        shares.note([(f"small {number}", 1), ("large", 10)], 1.0)
    report = shares.report(1.0, nobody_waits)
    assert len(report) == SHOWN
    assert report[0].name == "large"
    assert report[0].share == pytest.approx(10 / 11)  # of all, also those that are forgotten
    assert len(shares._tokens) <= 512


def test_a_caller_that_never_gets_a_turn_is_shown() -> None:
    shares = CallerShares(0.0)
    shares.note([("served", 10), ("waits", 0), ("idle", 0)], 1.0)
    report = shares.report(1.0, lambda name: 7 if name == "waits" else 0)
    assert [(caller.name, caller.pairs) for caller in report] == [("served", 0), ("waits", 7)]
