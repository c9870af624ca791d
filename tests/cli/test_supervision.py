"""When serve starts a component, and when it kills one: decided from its reports, with the time as a parameter."""

import pytest
from openvino_reranker.cli.supervision import Supervision, SupervisionTimeouts

LIMITS = SupervisionTimeouts(start=120.0, watchdog=15.0, settled=2.0, first_pause=0.5, longest_pause=4.0, stop=15.0)
READY, ALIVE = {"READY": "1"}, {"WATCHDOG": "1"}


def running(*reports: dict[str, str]) -> Supervision:
    """A component started at 0 that has reported this at 1."""
    component = Supervision(LIMITS)
    assert component.start_at == 0.0
    component.started(0.0)
    for report in reports:
        component.reported(report, 1.0)
    return component


def test_one_that_was_ready_for_a_while_starts_again_at_once_however_often_it_is_killed() -> None:
    component = Supervision(LIMITS)
    now = 0.0
    for _ in range(10):
        component.started(now)
        component.reported(READY, now + 1)
        now += 1 + LIMITS.settled
        assert component.ended(now) == 0.0
        assert component.start_at == now
    assert component.was_ready


@pytest.mark.parametrize("report", [READY, ALIVE])
def test_pauses_grow_for_one_that_fails_right_after_its_start_and_begin_anew_once_it_ran(
    report: dict[str, str],
) -> None:
    component = Supervision(LIMITS)
    pauses = []
    for _ in range(6):
        component.started(0.0)
        component.reported(report, 1.0)
        pauses.append(component.ended(2.9))
        assert component.start_at == 2.9 + pauses[-1]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    component.started(0.0)
    component.reported(READY, 1.0)
    assert component.ended(3.0) == 0.0
    component.started(3.0)
    assert component.ended(3.1) == 0.5


def test_one_that_stops_reporting_is_overdue() -> None:
    component = running(READY)
    assert component.ready
    component.reported(ALIVE, 8.0)
    assert component.overdue(22.9) is None
    assert component.next_wakeup() == 23.0
    assert component.overdue(23.0) == "has not reported for too long"
    component.killed()  # once: it takes a moment to end
    assert component.overdue(24.0) is None
    assert component.next_wakeup() is None
    component.ended(24.0)
    assert not component.ready


def test_one_that_could_not_be_heard_for_a_while_gets_its_time_anew() -> None:
    component = running(READY)
    component.resume(40.0)
    assert component.overdue(54.9) is None
    assert component.overdue(55.0) == "has not reported for too long"
    component.ended(56.0)
    component.resume(60.0)  # it is not running: nothing is expected of it
    assert component.overdue(90.0) is None
    starting = running()
    starting.resume(10.0)
    assert starting.next_wakeup() == LIMITS.start, "it had more time than that"


def test_a_start_may_take_as_long_as_it_asks_for() -> None:
    component = running()
    assert component.overdue(119.0) is None
    component.reported({"EXTEND_TIMEOUT_USEC": "120000000"}, 110.0)
    assert component.overdue(229.0) is None
    component.reported(ALIVE, 200.0)  # not ready yet: that is not its watchdog
    assert component.overdue(230.0) == "was not ready in time"
    assert not component.was_ready


def test_one_that_stops_by_itself_has_its_time_for_it() -> None:
    component = running(READY)
    component.reported({"STOPPING": "1", "STATUS": "stopping"}, 10.0)
    assert component.overdue(24.9) is None
    assert component.overdue(25.0) is not None


@pytest.mark.parametrize("report", [{}, {"STATUS": "x"}, {"READY": "0"}, {"EXTEND_TIMEOUT_USEC": "-1"}, {"": ""}])
def test_other_reports_change_nothing(report: dict[str, str]) -> None:
    component = running(report)
    assert not component.ready
    assert component.next_wakeup() == LIMITS.start


def test_a_report_of_a_process_that_ended_counts_for_nothing() -> None:
    component = running(READY)
    component.ended(5.0)
    component.reported({"EXTEND_TIMEOUT_USEC": "9000000"}, 5.0)
    assert component.overdue(1000.0) is None
