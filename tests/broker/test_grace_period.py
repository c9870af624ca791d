"""Nobody is judged right after the broker itself stood still."""

from openvino_reranker.broker.grace_period import GRACE_PERIOD_S, GracePeriod


def test_after_a_standstill_it_waits() -> None:
    grace = GracePeriod(100.0)
    assert grace.over(100.0)
    grace.begin(112.0)
    assert not grace.over(112.0 + GRACE_PERIOD_S - 0.01)
    assert grace.over(112.0 + GRACE_PERIOD_S)


def test_what_is_due_meanwhile_is_done_afterwards() -> None:
    grace = GracePeriod(100.0)
    grace.begin(112.0)
    assert grace.earliest(105.0) == 112.0 + GRACE_PERIOD_S
    assert grace.earliest(200.0) == 200.0
