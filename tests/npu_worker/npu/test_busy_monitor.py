import itertools

import pytest
from openvino_reranker.npu_worker.errors import CounterLost, StoodStill
from openvino_reranker.npu_worker.npu.busy_counter import BusyCounter
from openvino_reranker.npu_worker.npu.busy_monitor import BusyMonitor
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


@pytest.fixture
def witness(tree: SysfsTree) -> BusyMonitor[str]:
    tree.set(1000)
    witness: BusyMonitor[str] = BusyMonitor(BusyCounter(tree.root), 3, 0.0)
    return witness


#: Later than any clock: a reading is always allowed, unless a test asks again at the same time.
LATER = itertools.count(1e9)


def run(witness: BusyMonitor[str], name: str) -> list[tuple[str, int]]:
    witness.begin(name)
    witness.end(name, worked=True)
    return witness.settle(next(LATER))


def test_a_batch_gets_the_rise_from_before_it_to_after_it(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    witness.begin("a")
    tree.set(1500)
    witness.begin("b")
    witness.end("a", worked=True)
    assert witness.settle(next(LATER)) == [("a", 500)]
    assert not witness.idle
    tree.set(1700)
    witness.end("b", worked=True)
    assert witness.settle(next(LATER)) == [("b", 700)]
    assert witness.idle
    assert witness.details()["npu_busy_us"] == 700


def test_batches_too_close_for_two_readings_share_one(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    now = next(LATER)
    witness.begin("a")
    witness.begin("b")
    witness.begin("c")
    tree.set(1100)
    witness.end("a", worked=True)
    assert witness.settle(now) == [("a", 100)]
    tree.set(1200)
    witness.end("b", worked=True)
    assert witness.settle(now + 0.01) == []
    assert witness.due_in(now + 0.01) == pytest.approx(0.04)
    tree.set(1300)
    witness.end("c", worked=True)
    assert witness.settle(now + 0.06) == [("b", 300), ("c", 300)]
    assert witness.due_in(now + 0.06) is None


def test_it_gives_up_after_as_many_batches_as_it_has_patience(witness: BusyMonitor[str]) -> None:
    assert run(witness, "a") == [("a", 0)]
    assert run(witness, "b") == [("b", 0)]
    with pytest.raises(StoodStill, match=r"stood still at 1000 us over 3 batches.*modprobe"):
        run(witness, "c")


def test_any_rise_gives_new_patience(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    for value in (1000, 1000, 1001, 1001, 1001, 1002, 1002):
        tree.set(value)
        run(witness, str(value))
    assert witness.details()["npu_batches_without_rise"] == 1


def test_a_batch_that_needed_no_device_proves_nothing_either_way(witness: BusyMonitor[str]) -> None:
    for name in "abcdef":
        witness.begin(name)
        witness.end(name, worked=False)
        assert witness.settle(next(LATER)) == [(name, 0)]


def test_a_reset_is_not_standing_still(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    for value in (0, 40, 0, 0, 50, 7, 0):  # as if the driver were reloaded again and again
        witness.begin("x")
        tree.set(value)
        witness.end("x", worked=True)
        witness.settle(next(LATER))
    details = witness.details()
    assert details["npu_counter_resets"] == 4
    assert details["npu_busy_us"] == 40 + 50 + 7
    assert details["npu_batches_without_rise"] <= 1


def test_standing_still_after_a_reset_is_noticed(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    tree.set(0)
    run(witness, "reset")
    run(witness, "a")
    run(witness, "b")
    with pytest.raises(StoodStill):
        run(witness, "c")


def test_what_others_did_while_the_worker_was_idle_is_no_batchs(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    tree.set(900_000)
    witness.look_if_idle(next(LATER))
    assert run(witness, "a") == [("a", 0)]
    assert witness.details()["npu_busy_us"] == 899_000


def test_the_share_of_wall_time(tree: SysfsTree) -> None:
    witness: BusyMonitor[str] = BusyMonitor(BusyCounter(tree.root), 3, 0.0)
    tree.set(1000 + 250_000_000_000)
    witness.look_if_idle(1e6)
    assert witness.details()["npu_occupied_share"] == 0.25
    assert witness.details()["npu_occupied_means"] == "occupied, device-wide"


def test_a_counter_that_vanishes_is_no_proof(tree: SysfsTree, witness: BusyMonitor[str]) -> None:
    tree.counter.unlink()
    with pytest.raises(CounterLost):
        run(witness, "a")


def test_forgotten_batches_are_not_waited_for(witness: BusyMonitor[str]) -> None:
    witness.begin("a")
    witness.forget()
    assert witness.idle
