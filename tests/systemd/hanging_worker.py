"""The real worker loop on a device that finishes so many runs and then nothing; run as a program.

Arguments: the workers' socket, how many runs finish, the worker's limit for a stuck device (s), and after how long an
unanswered hello is said again (s).
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from openvino_reranker.daemon.notify import Notifier
from openvino_reranker.npu_worker import loop
from openvino_reranker.npu_worker.broker_connection import BrokerConnection
from openvino_reranker.npu_worker.device import Device, Finished, Wake
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import WorkerError
from openvino_reranker.npu_worker.packing import Run, pack
from openvino_reranker.npu_worker.tokenization import Row
from openvino_reranker.npu_worker.worker import serve
from openvino_reranker.protocol.timeouts import Timeouts
from openvino_reranker.protocol.worker_messages import Bucket


class HangingDevice:
    name = "CPU"
    precision = "f32"
    budget_tokens = 1024
    warm = True
    buckets: Sequence[Bucket] = ()

    def __init__(self, good: int) -> None:
        self._good = good
        self._finished: list[Finished] = []

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        return pack(lengths, 512)

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        if self._good:
            self._good -= 1
            self._finished.append(Finished(run, [0.0] * len(run.rows), time.monotonic()))
            wake()
        return True

    def collect(self) -> list[Finished]:
        finished, self._finished = self._finished, []
        return finished

    def warm_up(self, wake: Wake) -> None:
        pass

    def details(self) -> dict[str, Any]:
        return {}

    def progress(self) -> str:
        return ""

    def check(self) -> None:
        pass


class OneTokenTokenizer:
    max_length = 512

    def encode(self, _query: str, passages: Sequence[str], _plans: object = ()) -> list[Row]:
        return [Row([1], [0], False) for _ in passages]


def main(path: Path, good: int, stuck_s: float, hello_again_s: float) -> None:
    loop.DRAIN_S = 1.0
    BrokerConnection.hello_again_s = hello_again_s
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model: Any = SimpleNamespace(card=SimpleNamespace(name="hanging"))
    tokenizer: Any = OneTokenTokenizer()
    device: Device = HangingDevice(good)
    engine = Engine(model, tokenizer, device)
    try:
        serve(engine, path, Notifier.from_environment(), Timeouts(device_stuck=stuck_s))
    except WorkerError as error:
        sys.exit(error.status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
