import argparse
from pathlib import Path

import pytest
from openvino_reranker.cli import smoke
from openvino_reranker.cli.smoke import FIXTURES, Answer, check, check_counter, read_counter
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


def answer(place: int, device: str, busy: int | None) -> Answer:
    best = FIXTURES[place].best
    order = [best, *(each for each in range(len(FIXTURES[place].passages)) if each != best)]
    return Answer(order, [float(-each) for each in range(len(order))], device, busy, 1.0)


@pytest.mark.parametrize(("busy", "right"), [(5, True), (0, False), (None, False)])
def test_an_answer_of_the_npu_needs_a_rise(busy: int | None, right: bool) -> None:
    assert (check(FIXTURES[0], answer(0, "NPU", busy)) == []) is right
    assert check(FIXTURES[0], answer(0, "CPU", None)) == []


def test_sysfs_must_have_risen_too(tree: SysfsTree, tmp_path: Path) -> None:
    before = read_counter(tree.root)
    assert before == 1000
    assert check_counter(before, read_counter(tree.root)) == [
        "answered by NPU, but the busy time in sysfs stayed at 1000 us"
    ]
    tree.set(1001)
    assert check_counter(before, read_counter(tree.root)) == []
    assert "no device under" in check_counter(before, read_counter(tmp_path / "none"))[0]


@pytest.mark.parametrize(("device", "rises", "status"), [("NPU", True, 0), ("NPU", False, 1), ("CPU", False, 0)])
def test_the_command_looks_at_sysfs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tree: SysfsTree,
    device: str,
    rises: bool,
    status: int,
) -> None:
    def ask(url: str, fixture: smoke.Fixture, deadline: float) -> Answer:
        if rises:
            tree.set(2000)
        return answer(FIXTURES.index(fixture), device, 7 if device == "NPU" else None)

    monkeypatch.setattr(smoke, "_ask_http", ask)
    monkeypatch.setattr(smoke, "_http_ready", lambda url: "")
    arguments = argparse.Namespace(url="http://127.0.0.1:1", socket=None, timeout=5.0)
    assert smoke.run(arguments, tree.root) == status
    assert ("busy time in sysfs stayed" in capsys.readouterr().out) is (status == 1)


def test_sysfs_is_looked_at_only_where_the_service_is() -> None:
    assert smoke._is_here(None)
    assert smoke._is_here("http://localhost:18818")
    assert not smoke._is_here("http://10.0.0.7:18818")
