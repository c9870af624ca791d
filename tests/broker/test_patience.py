"""Nobody is judged right after the broker itself stood still."""

from openvino_reranker.broker.patience import PATIENCE_S, Patience


def test_after_a_standstill_it_waits() -> None:
    patience = Patience(100.0)
    assert patience.judges(100.0)
    patience.begin(112.0)
    assert not patience.judges(112.0 + PATIENCE_S - 0.01)
    assert patience.judges(112.0 + PATIENCE_S)


def test_what_is_due_meanwhile_is_done_afterwards() -> None:
    patience = Patience(100.0)
    patience.begin(112.0)
    assert patience.judges_from(105.0) == 112.0 + PATIENCE_S
    assert patience.judges_from(200.0) == 200.0
