from pathlib import Path

import msgspec
import pytest
from openvino_reranker.npu_worker.model.card import WEIGHTS_FILE
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.memory import available_bytes, needed_bytes
from openvino_reranker.npu_worker.npu.start import warn_of_memory
from openvino_reranker.tests.npu_worker.model.tiny_bert import CARD


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_there_is_the_machine_and_each_group_bound(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    assert available_bytes(proc, cgroup) is None
    write(proc / "meminfo", "MemTotal: 9 kB\nMemAvailable:   2000000 kB\n")
    assert available_bytes(proc, cgroup) == 2_048_000_000
    write(proc / "self" / "cgroup", "0::/user.slice/app.slice/worker.service\n")
    service = cgroup / "user.slice" / "app.slice" / "worker.service"
    write(service / "memory.max", "1000000000\n")
    write(service / "memory.current", "300000000\n")
    assert available_bytes(proc, cgroup) == 700_000_000
    write(cgroup / "user.slice" / "memory.max", "400000000\n")
    write(cgroup / "user.slice" / "memory.current", "350000000\n")
    assert available_bytes(proc, cgroup) == 50_000_000
    write(cgroup / "user.slice" / "memory.max", "max\n")
    assert available_bytes(proc, cgroup) == 700_000_000


def test_this_machine_has_some() -> None:
    assert (available_bytes() or 0) > 0


@pytest.mark.parametrize(("available", "warned"), [(900_000_000, True), (1_200_000_000, False), (None, False)])
def test_too_little_memory_is_said_before_anything_is_compiled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, available: int | None, warned: bool
) -> None:
    with (tmp_path / WEIGHTS_FILE).open("wb") as weights:
        weights.truncate(66_000_000)
    assert needed_bytes(66_000_000, 23_000_000, 7) == 1_102_000_000
    model = ReadyModel(tmp_path, msgspec.structs.replace(CARD))
    warn_of_memory(model, 23_000_000, 7, available)
    assert ("this model may take 1.1 GB of memory for its 7 row lengths" in caplog.text) == warned
