"""The NPU as the worker uses it: one compiled model for each bucket, rows one at a time, several in flight.

Buckets are compiled longest first, so every pair can be run from the beginning: a row goes to the smallest
bucket that is ready and holds it, and each further bucket only makes shorter rows cheaper.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from ...protocol.worker_messages import Bucket
from ..device import Finished, Wake
from ..errors import DeviceLost, WorkerError
from ..packing import Run
from ..tokenization import Row
from . import advice
from .bucket_plan import plan, with_costs
from .busy_monitor import BusyMonitor
from .compiled_bucket import BucketRequest, CompiledBucket
from .error_messages import Doing, translate
from .self_test import SelfTest

#: After this many NaN or infinite logits in a row the device is broken, not the texts.
MOST_NOT_FINITE = 3


class NpuDevice:
    """A device of static shapes.

    Buckets come while it is in use, from the thread that compiles them, the longest first.

    Args:
        wanted: Tokens of all the buckets it is to have.
        requests: Rows in flight over all of them.
        precision: Of the arithmetic, for status pages.
        busy_monitor: What proves that it works.
        about: Further details for status pages.
        name: What answers and pages call it.

    Attributes:
        buckets: Those that are ready, each with what a row of it costs; the list is replaced when one comes.
    """

    budget_tokens = 8192
    #: A bucket is in service once its self-test has run on each of its requests.
    warm = True

    def __init__(
        self,
        wanted: Sequence[int],
        requests: int,
        precision: str,
        busy_monitor: BusyMonitor,
        about: dict[str, Any],
        name: str = "NPU",
    ) -> None:
        self.name = name
        self.precision = precision
        self.busy_monitor = busy_monitor
        self.buckets: Sequence[Bucket] = []
        self.wanted = tuple(sorted(wanted))
        self.requests = requests
        self._about = about
        self._in_flight = 0
        self._ended: deque[tuple[Run, BucketRequest, Exception | None, float]] = deque()
        # Shared with the thread that compiles:
        self._lock = threading.Lock()
        self._ready: dict[int, CompiledBucket] = {}
        self._self_tests: dict[int, SelfTest] = {}
        self._given_up: dict[int, str] = {}
        self._error: WorkerError | None = None
        self._not_finite = 0
        self._wake: Wake | None = None

    # --- what the worker's loop calls ---------------------------------------------------------------

    @property
    def longest(self) -> int:
        """Tokens of the longest row it can run."""
        return self.buckets[-1].tokens

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        """Return a run for each row, in the buckets that are ready now."""
        return plan(lengths, [bucket.tokens for bucket in self.buckets])

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        """Start a run; False if no more fits in flight."""
        self._wake = wake
        bucket = self._ready[run.length]
        if self._in_flight >= self.requests or not bucket.free:
            return False
        request = bucket.free.pop()
        self._in_flight += 1

        def ended(error: Exception | None = None) -> None:
            self._ended.append((run, request, error, time.monotonic()))
            wake()

        try:
            request.start(rows[run.rows[0]], ended)
        except RuntimeError as error:
            ended(error)
        return True

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call."""
        finished = []
        while self._ended:
            run, request, error, when = self._ended.popleft()
            logit = error or request.logit()
            self._in_flight -= 1
            self._ready[request.bucket].free.append(request)
            if isinstance(logit, ArithmeticError):
                # A text may overflow fp16; a device that answers nothing else is broken.
                self._not_finite += 1
                if self._not_finite >= MOST_NOT_FINITE:
                    self.fail(DeviceLost(f"{logit}, {self._not_finite} times in a row: {advice.RELOAD}"))
                finished.append(Finished(run, logit, when))
            elif isinstance(logit, Exception):
                self.fail(translate(str(logit), Doing.RUNNING, "an inference", DeviceLost))
                finished.append(Finished(run, logit, when))
            else:
                self._not_finite = 0
                finished.append(Finished(run, [logit], when))
        return finished

    def check(self) -> None:
        """Raise the error that makes it impossible to go on, if there is one."""
        if self._error is not None:
            raise self._error

    def progress(self) -> str:
        """Return how far compiling is, such as ``compiling 3/7``; empty when it is done."""
        with self._lock:
            done = len(self._ready) + len(self._given_up)
        return "" if done >= len(self.wanted) else f"compiling {done + 1}/{len(self.wanted)}"

    def warm_up(self, wake: Wake) -> None:
        """Do nothing: see ``warm``."""

    def details(self) -> dict[str, Any]:
        """Return what status pages show."""
        progress = self.progress()
        with self._lock:
            buckets = {str(tokens): self.details_of(tokens) for tokens in self.wanted}
        return {"npu": self._about, "compile": progress or "done", "buckets": buckets, **self.busy_monitor.details()}

    def details_of(self, tokens: int) -> dict[str, Any]:
        """Return what status pages show of a bucket."""
        if (why := self._given_up.get(tokens)) is not None:
            return {"state": "given up", "why": why}
        if (result := self._self_tests.get(tokens)) is None:
            return {"state": "pending"}
        return {
            "state": "ready",
            "busy_us": result.rise_us,
            "worst_logit_error": round(result.worst, 5),
            "rows_per_second": round(result.rows_per_second, 1),
        }

    # --- what the thread that compiles calls --------------------------------------------------------

    def admit(self, bucket: CompiledBucket, result: SelfTest) -> None:
        """Take a bucket that has passed its self-test into service."""
        with self._lock:
            self._self_tests[bucket.tokens] = result
            self._ready[bucket.tokens] = bucket
            self.buckets = with_costs(sorted(self._ready))
        self._wake_up()

    def give_up(self, tokens: int, why: str) -> None:
        """Note that there will be no bucket of this length: its rows run in the next larger one, or are cut."""
        with self._lock:
            self._given_up[tokens] = why
        self._wake_up()

    def fail(self, error: WorkerError) -> None:
        """Note an error that makes it impossible to go on; the first one counts."""
        with self._lock:
            self._error = self._error or error
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake()
