"""OpenVINO's CPU plugin takes the process's signal stack with it when it goes, so it stays."""

import subprocess
import sys

from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import clean_environment

#: Two devices, gone in the order in which they came; then a signal.
OPEN_AND_CLOSE = """
import gc, signal, sys
from pathlib import Path
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice

signal.signal(signal.SIGCHLD, lambda *_: print("heard"))
first, second = [DynamicDevice(Path(sys.argv[1]), 512, "CPU") for _ in range(2)]
del first
gc.collect()
del second
gc.collect()
signal.raise_signal(signal.SIGCHLD)
"""


def test_a_signal_after_two_devices_are_gone_does_not_end_the_process(tiny: ReadyModel) -> None:
    command = [sys.executable, "-c", OPEN_AND_CLOSE, str(tiny.folder / "model.xml")]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
