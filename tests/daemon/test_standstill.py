"""A standstill of the process itself is told from work, and from sleep."""

from openvino_reranker.daemon.standstill import StandstillDetector


def test_a_loop_that_turns_as_it_should_did_not_stand_still() -> None:
    detector = StandstillDetector(100.0)
    assert not detector.note(101.0, waited=1.0, allowed=1.0)
    assert not detector.note(101.5, waited=0.01, allowed=1.0), "half a second of work"
    assert not detector.note(5000.0, waited=4898.5, allowed=None), "asleep, as long as nothing happens"


def test_a_stop_while_it_worked_is_noticed_once() -> None:
    detector = StandstillDetector(100.0)
    assert detector.note(112.0, waited=0.0, allowed=1.0)
    assert not detector.note(112.0)


def test_a_stop_between_its_wait_and_its_judgement_is_noticed_before_that() -> None:
    detector = StandstillDetector(100.0)
    assert not detector.note(101.0, waited=1.0, allowed=1.0)
    assert detector.note(113.0)


def test_a_stop_in_its_sleep_is_noticed() -> None:
    assert StandstillDetector(100.0).note(112.0, waited=12.0, allowed=1.0)
