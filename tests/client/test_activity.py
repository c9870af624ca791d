"""The figures of status views come out of counters that only rise."""

from collections.abc import Mapping

import pytest
from openvino_reranker.client.activity import WINDOW_S, Activity, RecentActivity
from openvino_reranker.protocol.limits import DEFAULT_LIMITS
from openvino_reranker.protocol.status_messages import QueueStatus, Status, WorkerStatus

NAMES = ("answered", "queue_ms", "batches", "batch_pairs", "batch_callers", "tokens", "padded_tokens")
IDLE = dict.fromkeys((*NAMES, "inference_ms", "npu_busy_us"), 0.0)


def look(uptime_s: float, counters: Mapping[str, float] = {}, *, epoch: str = "e", device: str = "CPU") -> Status:
    return Status(
        id=b"x",
        epoch=epoch,
        pid=10,
        uptime_s=uptime_s,
        ready=True,
        reason="ready",
        queue=QueueStatus(),
        worker=WorkerStatus(state="busy", device=device),
        peers={},
        counters=IDLE | dict(counters),
        limits=DEFAULT_LIMITS,
    )


def test_rates_and_means_are_those_of_the_time_between() -> None:
    recent = RecentActivity()
    before = {"answered": 10.0, "queue_ms": 900.0, "batch_pairs": 70.0, "inference_ms": 5000.0}
    assert recent.note(look(7, before)) is None
    worked = {"batches": 4, "batch_callers": 6, "tokens": 900, "padded_tokens": 1000, "npu_busy_us": 10_000_000}
    rise = {"answered": 12, "queue_ms": 1000, "batch_pairs": 90, "inference_ms": 6000}
    assert recent.note(look(9, worked | rise)) == Activity(
        pairs=10.0,
        tokens=450.0,
        device=0.5,
        queue_ms=50.0,
        batch_pairs=5.0,
        batch_callers=1.5,
        padding=1 - 0.9,
    )


def test_where_nothing_happened_there_is_no_mean() -> None:
    recent = RecentActivity()
    recent.note(look(1))
    assert recent.note(look(2)) == Activity(0.0, 0.0, 0.0, None, None, None, None)


def test_the_npu_is_busy_by_its_own_counter_and_never_more_than_always() -> None:
    recent = RecentActivity()
    recent.note(look(0, device="NPU"))
    activity = recent.note(look(2, {"inference_ms": 4000, "npu_busy_us": 500_000}, device="NPU"))
    assert activity is not None
    assert activity.device == 0.25
    overlapping = recent.note(look(4, {"inference_ms": 9000}, device="CPU"))
    assert overlapping is not None
    assert overlapping.device == 1.0


def test_rates_are_those_of_the_last_seconds() -> None:
    recent = RecentActivity()
    for second in range(30):
        activity = recent.note(look(second, {"batch_pairs": 10 * second if second < 20 else 200 + 40 * (second - 20)}))
        if activity is not None:
            assert activity.pairs == pytest.approx(10 if second <= 20 else 10 + 6 * min(second - 20, WINDOW_S))


def test_after_a_pause_the_whole_pause_counts() -> None:
    recent = RecentActivity()
    recent.note(look(0))
    recent.note(look(1))
    activity = recent.note(look(101, {"batch_pairs": 1000}))
    assert activity is not None
    assert activity.pairs == 10


@pytest.mark.parametrize("uptime_s", [3, 300])
def test_another_broker_counts_from_its_own_beginning(uptime_s: float) -> None:
    recent = RecentActivity()
    recent.note(look(100, {"batch_pairs": 50}))
    recent.note(look(101, {"batch_pairs": 60}))
    assert recent.note(look(uptime_s, {"batch_pairs": 5}, epoch="another")) is None
    activity = recent.note(look(uptime_s + 1, {"batch_pairs": 8}, epoch="another"))
    assert activity is not None
    assert activity.pairs == 3


def test_a_service_that_was_away_is_looked_at_anew() -> None:
    recent = RecentActivity()
    recent.note(look(1))
    recent.forget()
    assert recent.note(look(2)) is None
