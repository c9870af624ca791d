"""The device's memory is bounded by its menu of shapes, whatever lengths come: with the real model in int8."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from openvino_reranker.bench.report import rss_mb
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.tokenization import Row
from openvino_reranker.tests.processes import clean_environment

MOST_MB = 500


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pairs", [150, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_memory_is_flat_over_random_lengths(packaged_int8: ReadyModel, pairs: int) -> None:
    command = [sys.executable, "-m", "openvino_reranker.tests.npu_worker.test_device_memory"]
    out = subprocess.run(
        [*command, str(packaged_int8.folder / "model.xml"), str(pairs)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=7200,
    ).stdout
    warm, end = map(float, out.split())
    assert end < MOST_MB, (warm, end)
    assert end < warm * 1.05 + 5, (warm, end)


def main(model: str, pairs: int) -> None:
    """Visit the whole menu, then run random pairs; print the resident memory after each, MB."""
    device = DynamicDevice(Path(model), 512, "CPU")
    ended = threading.Event()
    while not device.warm or device.warming_up:
        device.warm_up(ended.set)
        ended.wait(60)
        ended.clear()
        device.collect()
    warm = rss_mb({"me": os.getpid()})["me"]
    chance = random.Random(7)
    done = 0
    while done < pairs:
        lengths = [round(min(512, chance.lognormvariate(4.5, 0.8))) + 4 for _ in range(chance.randint(1, 60))]
        rows = [Row([101] * min(512, length), [0] * min(512, length), False) for length in lengths]
        runs = device.pack([len(row) for row in rows])
        left = len(runs)
        while left:
            while runs and device.start(runs[0], rows, ended.set):
                runs.pop(0)
            ended.wait(60)
            ended.clear()
            left -= len(device.collect())
        done += len(rows)
    print(warm, rss_mb({"me": os.getpid()})["me"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
