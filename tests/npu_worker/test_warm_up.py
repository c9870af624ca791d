"""Warming up: in quiet moments only, every shape of the menu, and nothing else is ever run."""

import threading
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.packing import Run, Shape, shape_menu
from openvino_reranker.npu_worker.warm_up import QUIET_S, IdleWarmUp


class Device:
    """Counts what it is asked for."""

    warm = False
    runs = 0

    def warm_up(self, wake: object) -> None:
        self.runs += 1


def make(device: Device, now: float) -> IdleWarmUp:
    return IdleWarmUp(device, lambda: None, now)  # type: ignore[arg-type]


def test_it_waits_for_a_quiet_moment() -> None:
    device = Device()
    warm_up = make(device, now=10.0)
    assert warm_up.due_in(10.0) == pytest.approx(QUIET_S)
    warm_up.advance(10.0 + QUIET_S / 2, idle=True)
    assert device.runs == 0
    warm_up.advance(10.0 + QUIET_S, idle=True)
    warm_up.advance(10.1 + QUIET_S, idle=True)
    assert device.runs == 2
    warm_up.advance(11.0, idle=False)
    warm_up.advance(11.0 + QUIET_S / 2, idle=True)
    assert device.runs == 2
    assert warm_up.due_in(11.0 + QUIET_S / 2) == pytest.approx(QUIET_S / 2)


def test_it_asks_for_no_time_when_all_is_warm() -> None:
    device = Device()
    device.warm = True
    assert make(device, now=0.0).due_in(0.0) is None


def warm_up_whole(device: DynamicDevice) -> list[str]:
    woken = threading.Event()
    progress = []
    while not device.warm or device.warming_up:
        device.warm_up(woken.set)
        progress.append(device.progress())
        assert woken.wait(30)
        woken.clear()
        assert device.collect() == []
    return progress


def test_every_shape_is_visited_once_the_largest_first(tiny: ReadyModel) -> None:
    device = DynamicDevice(tiny.folder / "model.xml", 64, "CPU")
    menu = shape_menu(64)
    assert device.unvisited == list(menu)
    assert device.progress() == f"warming up 0/{len(menu)}"
    progress = warm_up_whole(device)
    assert progress[:2] == [f"warming up 1/{len(menu)}", f"warming up 2/{len(menu)}"]
    assert (device.progress(), device.unvisited) == ("", [])


def test_what_a_request_has_run_is_not_visited_again(tiny: ReadyModel) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    device = engine.device
    assert isinstance(device, DynamicDevice)
    assert len(device.unvisited) == len(shape_menu(64)) - 1  # one for the pair of the smoke test
    before = engine.score("people live", ["berlin", "population " * 40]).logits
    warm_up_whole(device)
    assert engine.score("people live", ["berlin", "population " * 40]).logits == pytest.approx(before, abs=1e-5)


def test_a_request_is_served_beside_the_warm_up(tiny: ReadyModel) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    alone = engine.score("people live", ["berlin"]).logits
    engine.device.warm_up(lambda: None)
    assert engine.score("people live", ["berlin"]).logits == pytest.approx(alone, abs=1e-5)


def test_nothing_outside_the_menu_is_run(tiny: ReadyModel) -> None:
    device = DynamicDevice(tiny.folder / "model.xml", 64, "CPU")
    with pytest.raises(ValueError, match="menu"):
        device.start(Run((0,), 33), [], lambda: None)
    assert Shape(1, 33) not in shape_menu(64)


def test_very_long_shapes_are_left_to_their_first_run(tiny: ReadyModel, tmp_path: Path) -> None:
    device = DynamicDevice(tiny.folder / "model.xml", 4096, "CPU")
    assert max(shape.tokens for shape in device.unvisited) <= 1024
    assert max(shape.tokens for shape in shape_menu(4096)) == 4096
