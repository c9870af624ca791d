from pathlib import Path

from openvino_reranker.npu_worker.npu.circuit_breaker import MOST_LOSSES, WINDOW_S, Losses


def test_so_many_losses_within_the_window_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "losses.json"
    answers = [Losses(path).note(1000.0 + each) for each in range(MOST_LOSSES)]
    assert answers == [False] * (MOST_LOSSES - 1) + [True]
    assert not Losses(path).note(1010.0)  # somebody started it again: the count is new


def test_rare_losses_are_never_too_many(tmp_path: Path) -> None:
    losses = Losses(tmp_path / "losses.json")
    assert not any(losses.note(each * (WINDOW_S / (MOST_LOSSES - 1) + 1)) for each in range(50))


def test_a_file_that_is_none_and_a_clock_that_was_set_back_count_nothing(tmp_path: Path) -> None:
    path = tmp_path / "losses.json"
    path.write_text("?")
    assert not Losses(path).note(5000.0)
    assert not any(Losses(path).note(1000.0 + each) for each in range(MOST_LOSSES - 1))
