"""The real worker loop on a device that finishes so many runs and then nothing; run as a program.

Arguments: the workers' socket, how many runs finish, and the worker's limit for a stuck device, ms.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openvino_reranker.daemon.notify import Notifier
from openvino_reranker.npu_worker import loop
from openvino_reranker.npu_worker.device import Device, Finished, Wake
from openvino_reranker.npu_worker.packing import Run, pack
from openvino_reranker.npu_worker.tokenization import Row
from openvino_reranker.protocol.messages import Bucket


class HangingDevice:
    name = "CPU"
    precision = "f32"
    budget_tokens = 1024
    buckets: Sequence[Bucket] = ()

    def __init__(self, good: int) -> None:
        self._good = good
        self._finished: list[Finished] = []

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        return pack(lengths, 1024, 512)

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        if self._good:
            self._good -= 1
            self._finished.append(Finished(run, [0.0] * len(run.rows), time.monotonic()))
            wake()
        return True

    def collect(self) -> list[Finished]:
        finished, self._finished = self._finished, []
        return finished

    def details(self) -> dict[str, Any]:
        return {}

    def waits(self, run: Run) -> bool:
        return False

    def progress(self) -> str:
        return ""

    def check(self) -> None:
        pass


class OneTokenTokenizer:
    max_length = 512

    def encode(self, _query: str, passages: Sequence[str]) -> list[Row]:
        return [Row([1], [0], False) for _ in passages]


if __name__ == "__main__":
    path, good, loop.STUCK_MS, loop.DRAIN_S = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), 1.0
    tokenizer: Any = OneTokenTokenizer()
    device: Device = HangingDevice(good)
    loop.WorkerLoop(device, tokenizer, "hanging", Path(path), Notifier.from_environment()).run()
