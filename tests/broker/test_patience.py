"""Nobody is judged right after the broker itself stood still."""

from openvino_reranker.broker.patience import PATIENCE_S, Patience


def turn(patience: Patience, now: float, *, waited: float, allowed: float | None) -> bool:
    stood_still = patience.note_turn(now, waited, allowed)
    return patience.judges(now) and not stood_still


def test_a_loop_that_turns_as_it_should_judges() -> None:
    patience = Patience(100.0)
    assert turn(patience, 101.0, waited=1.0, allowed=1.0)
    assert turn(patience, 101.5, waited=0.01, allowed=1.0), "half a second of work"
    assert turn(patience, 5000.0, waited=4898.5, allowed=None), "asleep, as long as nothing happens"


def test_after_a_stop_while_it_worked_it_waits() -> None:
    patience = Patience(100.0)
    assert not turn(patience, 112.0, waited=0.0, allowed=1.0)
    assert not turn(patience, 112.0 + PATIENCE_S - 0.01, waited=0.5, allowed=1.0)
    assert turn(patience, 112.0 + PATIENCE_S, waited=0.5, allowed=1.0)


def test_after_a_stop_in_its_sleep_it_waits() -> None:
    patience = Patience(100.0)
    assert not turn(patience, 112.0, waited=12.0, allowed=1.0)


def test_what_is_due_meanwhile_is_done_afterwards() -> None:
    patience = Patience(100.0)
    turn(patience, 112.0, waited=12.0, allowed=1.0)
    assert patience.judges_from(105.0) == 112.0 + PATIENCE_S
    assert patience.judges_from(200.0) == 200.0
