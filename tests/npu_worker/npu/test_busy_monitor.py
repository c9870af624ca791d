import itertools

import pytest
from openvino_reranker.npu_worker.errors import CounterLost, CounterStalled
from openvino_reranker.npu_worker.npu.busy_counter import BusyCounter
from openvino_reranker.npu_worker.npu.busy_monitor import BusyMonitor
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


@pytest.fixture
def monitor(tree: SysfsTree) -> BusyMonitor:
    tree.set(1000)
    monitor: BusyMonitor = BusyMonitor(BusyCounter(tree.root), 0.0, most_without_rise=3)
    return monitor


#: Later than any clock: a reading is always allowed, unless a test asks again at the same time.
LATER = itertools.count(1e9)


def run(monitor: BusyMonitor, batch: int) -> list[tuple[int, int]]:
    monitor.begin(batch)
    monitor.end(batch, worked=True)
    return monitor.settle(next(LATER))


def test_a_batch_gets_the_rise_from_before_it_to_after_it(tree: SysfsTree, monitor: BusyMonitor) -> None:
    monitor.begin(1)
    tree.set(1500)
    monitor.begin(2)
    monitor.end(1, worked=True)
    assert monitor.settle(next(LATER)) == [(1, 500)]
    assert not monitor.idle
    tree.set(1700)
    monitor.end(2, worked=True)
    assert monitor.settle(next(LATER)) == [(2, 700)]
    assert monitor.idle
    assert monitor.details()["npu_busy_us"] == 700


def test_batches_too_close_for_two_readings_share_one(tree: SysfsTree, monitor: BusyMonitor) -> None:
    now = next(LATER)
    monitor.begin(1)
    monitor.begin(2)
    monitor.begin(3)
    tree.set(1100)
    monitor.end(1, worked=True)
    assert monitor.settle(now) == [(1, 100)]
    tree.set(1200)
    monitor.end(2, worked=True)
    assert monitor.settle(now + 0.01) == []
    assert monitor.due_in(now + 0.01) == pytest.approx(0.04)
    tree.set(1300)
    monitor.end(3, worked=True)
    assert monitor.settle(now + 0.06) == [(2, 300), (3, 300)]
    assert monitor.due_in(now + 0.06) is None


def test_it_gives_up_after_as_many_batches_as_it_has_patience(monitor: BusyMonitor) -> None:
    assert run(monitor, 1) == [(1, 0)]
    assert run(monitor, 2) == [(2, 0)]
    with pytest.raises(CounterStalled, match=r"stood still at 1000 us over 3 batches.*modprobe"):
        run(monitor, 3)


def test_any_rise_gives_new_patience(tree: SysfsTree, monitor: BusyMonitor) -> None:
    for value in (1000, 1000, 1001, 1001, 1001, 1002, 1002):
        tree.set(value)
        run(monitor, value)
    assert monitor.details()["npu_batches_without_rise"] == 1


def test_a_batch_that_needed_no_device_proves_nothing_either_way(monitor: BusyMonitor) -> None:
    for batch in range(6):
        monitor.begin(batch)
        monitor.end(batch, worked=False)
        assert monitor.settle(next(LATER)) == [(batch, 0)]


def test_a_reset_is_not_standing_still(tree: SysfsTree, monitor: BusyMonitor) -> None:
    for value in (0, 40, 0, 0, 50, 7, 0):  # as if the driver were reloaded again and again
        monitor.begin(24)
        tree.set(value)
        monitor.end(24, worked=True)
        monitor.settle(next(LATER))
    details = monitor.details()
    assert details["npu_counter_resets"] == 4
    assert details["npu_busy_us"] == 40 + 50 + 7
    assert details["npu_batches_without_rise"] <= 1


def test_standing_still_after_a_reset_is_noticed(tree: SysfsTree, monitor: BusyMonitor) -> None:
    tree.set(0)
    run(monitor, 0)
    run(monitor, 1)
    run(monitor, 2)
    with pytest.raises(CounterStalled):
        run(monitor, 3)


def test_what_others_did_while_the_worker_was_idle_is_no_batchs(tree: SysfsTree, monitor: BusyMonitor) -> None:
    tree.set(900_000)
    monitor.look_if_idle(next(LATER))
    assert run(monitor, 1) == [(1, 0)]
    assert monitor.details()["npu_busy_us"] == 899_000


def test_the_share_of_wall_time(tree: SysfsTree) -> None:
    monitor: BusyMonitor = BusyMonitor(BusyCounter(tree.root), 0.0, most_without_rise=3)
    tree.set(1000 + 250_000_000_000)
    monitor.look_if_idle(1e6)
    assert monitor.details()["npu_occupied_share"] == 0.25


def test_a_counter_that_vanishes_is_no_proof(tree: SysfsTree, monitor: BusyMonitor) -> None:
    tree.counter.unlink()
    with pytest.raises(CounterLost):
        run(monitor, 1)


def test_a_batch_that_failed_on_the_device_is_not_waited_for(monitor: BusyMonitor) -> None:
    monitor.begin(1)
    monitor.begin(2)
    monitor.drop(1)
    assert not monitor.idle
    monitor.end(2, worked=True)
    assert [batch for batch, _ in monitor.settle(next(LATER))] == [2]
    assert monitor.idle


def test_forgotten_batches_are_not_waited_for(monitor: BusyMonitor) -> None:
    monitor.begin(1)
    monitor.forget()
    assert monitor.idle
