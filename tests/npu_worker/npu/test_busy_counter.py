import time
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.errors import CounterLost, CounterUnreadable, NoCounter, NoNpu
from openvino_reranker.npu_worker.npu.busy_counter import READ_EVERY_S, BusyCounter
from openvino_reranker.npu_worker.npu.sysfs import find_npu, frequencies, list_accel
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


def test_the_npu_is_the_device_of_its_driver_not_the_first(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path, number=10)
    tree.add(0, "amdxdna")
    tree.add(2, None)
    assert [each.name for each in list_accel(tree.root)] == ["accel0", "accel2", "accel10"]
    assert [each.driver for each in list_accel(tree.root)] == ["amdxdna", None, "intel_vpu"]
    found = find_npu(tree.root)
    assert found is not None
    assert found.name == "accel10"


def test_no_accelerators_at_all(tmp_path: Path) -> None:
    assert list_accel(tmp_path) == []
    with pytest.raises(NoNpu, match="intel_vpu"):
        BusyCounter(tmp_path)


def test_another_makers_accelerator_is_no_npu(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path, driver="habanalabs")
    with pytest.raises(NoNpu, match="intel_vpu"):
        BusyCounter(tree.root)


def test_an_old_kernel_has_no_counter(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path, counter=None)
    with pytest.raises(NoCounter, match=r"npu_busy_time_us.*kernel 6\.11"):
        BusyCounter(tree.root)


@pytest.mark.parametrize("content", ["", "many", "1.5e3"])
def test_a_counter_that_is_not_a_number(tmp_path: Path, content: str) -> None:
    tree = SysfsTree(tmp_path, counter=content)
    with pytest.raises(CounterUnreadable, match="npu_busy_time_us"):
        BusyCounter(tree.root)


def test_a_counter_that_cannot_be_opened(tree: SysfsTree) -> None:
    tree.counter.unlink()
    tree.counter.mkdir()  # as unreadable for root as for others
    with pytest.raises(CounterUnreadable, match="Is a directory"):
        BusyCounter(tree.root)


def test_it_is_read_20_times_a_second_at_most(tree: SysfsTree) -> None:
    counter = BusyCounter(tree.root)
    reads = [counter.try_read(100 + step / 1000) for step in range(1000)]
    assert sum(read is not None for read in reads) == 20
    assert counter.due_in(100.96) == pytest.approx(0.04)


def test_reading_waits_until_it_may(tree: SysfsTree) -> None:
    counter = BusyCounter(tree.root)
    counter.read()
    began = time.monotonic()
    tree.set(5000)
    assert counter.read() == 5000
    assert time.monotonic() - began > READ_EVERY_S / 2


def test_a_counter_that_vanishes(tree: SysfsTree) -> None:
    counter = BusyCounter(tree.root)
    tree.counter.unlink()
    with pytest.raises(CounterLost, match="npu_busy_time_us can no longer be read"):
        counter.try_read(1.0)


def test_a_device_that_gets_another_driver(tree: SysfsTree) -> None:
    counter = BusyCounter(tree.root)
    tree.bind(tree.device, "vfio-pci")
    with pytest.raises(CounterLost, match="has vfio-pci now"):
        counter.try_read(1.0)


def test_frequencies_before_and_after_kernel_7_2(tree: SysfsTree) -> None:
    npu = find_npu(tree.root)
    assert npu is not None
    assert frequencies(npu) == {}
    (tree.device / "npu_current_frequency_mhz").write_text("950\n")
    (tree.device / "npu_max_frequency_mhz").write_text("1400\n")
    assert frequencies(npu) == {"current": 950, "max": 1400}
    (tree.device / "freq").mkdir()
    (tree.device / "freq" / "current_freq").write_text("1100\n")
    assert frequencies(npu) == {"current": 1100, "max": 1400}
