"""The most the device could do with the same pairs: the worker's engine alone, no queue and no sockets.

Two ceilings. *Packed*: all pairs are known beforehand, tokenized before the clock starts, and sorted by length across
all requests. *Fixed*: pairs that all have the mean length, in full runs of one shape, without any padding.
A machine's speed drifts, so this and the service are measured in turns, a few requests each.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..npu_worker.engine import Engine
from ..npu_worker.job import Job
from ..npu_worker.packing import Run, Shape
from ..npu_worker.tokenization import Row
from ..protocol.worker_messages import Batch
from .floor import REST_S
from .run import Group
from .target import Caller
from .texts import Workload


class Ceiling:
    """An engine of the bench's own, with the model and the precision of the service.

    Raises:
        WorkerError: The model cannot be opened on the device.
    """

    def __init__(self, model_dir: Path, device: str, precision: str, threads: int) -> None:
        self._engine = Engine.open(model_dir, device, precision, threads)
        self._pairs, self._seconds = 0, 0.0
        self._fixed_tokens, self._fixed_seconds = 0, 0.0
        self._tokens = 0
        self._shape = Shape(1, 1)

    def run(self, groups: list[Group], workload: Workload, numbers: range) -> None:
        """Run what the groups' callers send in their requests of these numbers.

        Raises:
            ValueError: A pair cannot be scored.
        """
        queries: list[bytes] = []
        pairs: list[tuple[int, bytes]] = []
        members = [group for group in groups for _ in range(group.callers)]
        for seed, group in enumerate(members):
            for question, passages in workload.chosen(group.passages, seed, numbers):
                pairs.extend((len(queries), passage.encode()) for passage in passages)
                queries.append(question.encode())
        job = Job(Batch(0, queries, pairs), self._engine.tokenizer, self._engine.device)
        lengths = [len(row) for row in job.rows]
        self._pairs += len(lengths)
        self._tokens += sum(lengths)
        self._seconds += self._run(job.to_start, job.rows)
        mean = round(sum(lengths) / len(lengths))
        # The fullest run that packing makes of like rows; the rate needs no more than a quarter of the load.
        self._shape = max((run.shape for run in self._engine.device.pack([mean] * 32)), key=lambda shape: shape.tokens)
        row = Row([0] * self._shape.length, [0] * self._shape.length, False)
        count = max(1, sum(lengths) // (4 * self._shape.tokens))
        runs = [Run((0,), self._shape.length, self._shape.rows - 1) for _ in range(count)]
        self._fixed_seconds += self._run(runs, [row])
        self._fixed_tokens += count * self._shape.tokens

    def _run(self, runs: Sequence[Run], rows: Sequence[Row]) -> float:
        """Run these, one after the other; return how long that took, s."""
        device, finished = self._engine.device, threading.Event()
        to_start, left = deque(runs), len(runs)
        started = time.perf_counter()
        while left:
            while to_start and device.start(to_start[0], rows, finished.set):
                to_start.popleft()
            finished.wait()
            finished.clear()
            for ended in device.collect():
                if isinstance(ended.logits, Exception):
                    raise ValueError(f"the engine failed: {ended.logits}")
                left -= 1
        return time.perf_counter() - started

    @property
    def pairs_per_s(self) -> float:
        """The packed rate over all runs so far."""
        return self._pairs / self._seconds

    @property
    def fixed_pairs_per_s(self) -> float:
        """The fixed rate over all runs so far, in pairs of the mean length."""
        return self._fixed_tokens / self._fixed_seconds * self._pairs / self._tokens

    @property
    def fixed_shape(self) -> str:
        """The shape of the fixed rate's runs, ``rows x tokens``."""
        return f"{self._shape.rows} x {self._shape.length}"

    def beside(self, caller: Caller, passages: int, numbers: range) -> list[tuple[float, float]]:
        """Ask the engine alone and the service the same, request by request; return what each took, ms.

        Tokenizing is included on both sides. The two take turns in going first.
        """
        times = []
        workload = Workload()  # the service must not know these pairs
        for number, (question, texts) in zip(numbers, workload.chosen(passages, 0, numbers), strict=True):
            served = self._ask(caller, question, texts) if number % 2 else 0.0
            time.sleep(REST_S)
            started = time.perf_counter()
            self._engine.score(question, texts)
            alone = (time.perf_counter() - started) * 1000
            times.append((alone, served or self._ask(caller, question, texts)))
        return times

    @staticmethod
    def _ask(caller: Caller, question: str, texts: list[str]) -> float:
        time.sleep(REST_S)
        answer = caller.ask(question, texts)
        if answer.error is not None:
            raise ValueError(f"the service answered {answer.error}")
        return answer.took_ms
