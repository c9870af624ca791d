"""The most the device could do with the same pairs: the worker's engine alone, no queue and no sockets.

All pairs are known beforehand, tokenized before the clock starts, and sorted by length across all requests.
A machine's speed drifts, so this and the service are measured in turns, a few requests each.
"""

import threading
import time
from pathlib import Path

from ..npu_worker.engine import Engine
from ..npu_worker.job import Job
from ..npu_worker.pipeline import Pipeline
from ..protocol.messages import Batch
from .run import Group
from .target import Caller
from .texts import Workload

#: Between two inferences in different processes: until the threads of the first have stopped spinning, s.
_REST_S = 0.05


class Ceiling:
    """An engine of the bench's own, with the model and the precision of the service.

    Raises:
        WorkerError: The model cannot be opened on the device.
    """

    def __init__(self, model_dir: Path, device: str, precision: str, threads: int) -> None:
        self._engine = Engine.open(model_dir, device, precision, threads)
        self._pairs, self._seconds = 0, 0.0

    def run(self, groups: list[Group], workload: Workload, numbers: range) -> None:
        """Run what the groups' callers send in their requests of these numbers."""
        queries: list[bytes] = []
        pairs: list[tuple[int, bytes]] = []
        members = [group for group in groups for _ in range(group.callers)]
        for seed, group in enumerate(members):
            for question, passages in workload.chosen(group.passages, seed, numbers):
                pairs.extend((len(queries), passage.encode()) for passage in passages)
                queries.append(question.encode())
        job = Job(Batch(0, queries, pairs), self._engine.tokenizer, self._engine.device)
        finished = threading.Event()
        pipeline = Pipeline(self._engine.device, finished.set)
        started = time.perf_counter()
        pipeline.add(job, time.monotonic())
        while not pipeline.advance(time.monotonic()):
            finished.wait()
            finished.clear()
        self._seconds += time.perf_counter() - started
        self._pairs += len(pairs)

    @property
    def pairs_per_s(self) -> float:
        """The rate over all runs so far."""
        return self._pairs / self._seconds

    def beside(self, caller: Caller, passages: int, numbers: range) -> list[tuple[float, float]]:
        """Ask the engine alone and the service the same, request by request; return what each took, ms.

        Tokenizing is included on both sides. The two take turns in going first.
        """
        took = []
        workload = Workload()  # the service must not know these pairs
        for number, (question, texts) in zip(numbers, workload.chosen(passages, 0, numbers), strict=True):
            served = self._ask(caller, question, texts) if number % 2 else 0.0
            time.sleep(_REST_S)
            started = time.perf_counter()
            self._engine.score(question, texts)
            alone = (time.perf_counter() - started) * 1000
            took.append((alone, served or self._ask(caller, question, texts)))
        return took

    @staticmethod
    def _ask(caller: Caller, question: str, texts: list[str]) -> float:
        time.sleep(_REST_S)
        asked = caller.ask(question, texts)
        if asked.error is not None:
            raise ValueError(f"the service answered {asked.error}")
        return asked.took_ms
