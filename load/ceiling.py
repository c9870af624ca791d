"""The most the device could do with the same pairs: the worker's engine alone, no queue and no sockets.

All pairs are known beforehand, tokenized before the clock starts, and sorted by length across all requests.
"""

import threading
import time
from itertools import islice
from pathlib import Path

from ..client.protocol import Batch
from ..npu_worker.engine import Engine
from ..npu_worker.job import Job
from ..npu_worker.pipeline import Pipeline
from .report import percentile
from .run import Group
from .texts import requests


class Ceiling:
    """An engine of the bench's own, with the model and the precision of the service.

    Raises:
        WorkerError: The model cannot be opened on the device.
    """

    def __init__(self, model_dir: Path, device: str, precision: str, threads: int) -> None:
        self._engine = Engine.open(model_dir, device, precision, threads)

    def pairs_per_s(self, groups: list[Group], count: int) -> float:
        """Run what the groups' callers send in ``count`` requests each; return pairs per second of the device."""
        queries: list[bytes] = []
        pairs: list[tuple[int, bytes]] = []
        seed = 0
        for group in groups:
            for _ in range(group.callers):
                for question, passages in islice(requests(group.passages, seed), 1, 1 + count):
                    pairs.extend((len(queries), passage.encode()) for passage in passages)
                    queries.append(question.encode())
                seed += 1
        job = Job(Batch(0, queries, pairs), self._engine.tokenizer, self._engine.device)
        finished = threading.Event()
        pipeline = Pipeline(self._engine.device, finished.set)
        started = time.perf_counter()
        pipeline.add(job, time.monotonic())
        while not pipeline.advance(time.monotonic()):
            finished.wait()
            finished.clear()
        return len(pairs) / (time.perf_counter() - started)

    def request_p50_ms(self, passages: int, count: int) -> float:
        """Score the first caller's requests one by one, tokenizing included; return the median, ms."""
        took = []
        for question, texts in islice(requests(passages, 0), 1, 1 + count):
            started = time.perf_counter()
            self._engine.score(question, texts)
            took.append((time.perf_counter() - started) * 1000)
        return percentile(took, 0.5)
