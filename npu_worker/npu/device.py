"""The NPU as the worker uses it: one compiled model for each bucket, rows one at a time, several in flight.

Buckets are compiled longest first, so whatever is asked can be run from the beginning: a row goes to the smallest
bucket that is ready and holds it, and each further bucket only makes shorter rows cheaper.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from ...protocol.messages import Bucket
from ..device import Finished, Wake
from ..errors import DeviceLost, WorkerError
from ..packing import Run
from ..tokenization import Row
from .bucket_plan import plan, with_costs
from .busy_monitor import BusyMonitor
from .compiled_bucket import BucketRequest, CompiledBucket
from .error_messages import RELOAD, translate
from .self_test import Proof

#: So many answers in a row that are no numbers, and the device is broken, not the texts.
NO_NUMBERS_IN_A_ROW = 3


class NpuDevice:
    """A device of static shapes.

    Buckets come while it is in use, from the thread that compiles them, the longest first.

    Args:
        wanted: Tokens of all the buckets it is to have.
        requests: Rows in flight over all of them; 0 until the first compiled bucket tells.
        precision: Of the arithmetic, for status pages.
        busy_monitor: What proves that it works.
        about: What else status pages show.

    Attributes:
        buckets: Those that are ready, each with what a row of it costs; the list is replaced when one comes.
    """

    name = "NPU"
    budget_tokens = 8192

    def __init__(
        self, wanted: Sequence[int], requests: int, precision: str, busy_monitor: BusyMonitor, about: dict[str, Any]
    ) -> None:
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
        self._proofs: dict[int, Proof] = {}
        self._given_up: dict[int, str] = {}
        self._trouble: WorkerError | None = None
        self._no_numbers = 0
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
                self._no_numbers += 1
                if self._no_numbers >= NO_NUMBERS_IN_A_ROW:
                    self.fail(DeviceLost(f"{logit}, {self._no_numbers} times in a row: {RELOAD}"))
                finished.append(Finished(run, logit, when))
            elif isinstance(logit, Exception):
                self.fail(DeviceLost(str(translate(str(logit), "an inference", DeviceLost))))
                finished.append(Finished(run, logit, when))
            else:
                self._no_numbers = 0
                finished.append(Finished(run, [logit], when))
        return finished

    def check(self) -> None:
        """Raise what makes it impossible to go on, if anything does."""
        if self._trouble is not None:
            raise self._trouble

    def progress(self) -> str:
        """Return how far compiling is, such as ``compiling 3/7``; empty when it is done."""
        with self._lock:
            done = len(self._ready) + len(self._given_up)
        return "" if done >= len(self.wanted) else f"compiling {done + 1}/{len(self.wanted)}"

    def details(self) -> dict[str, Any]:
        """Return what status pages show."""
        progress = self.progress()
        with self._lock:
            buckets = {str(tokens): self._state(tokens) for tokens in self.wanted}
        return {"npu": self._about, "compile": progress or "done", "buckets": buckets, **self.busy_monitor.details()}

    # --- what the thread that compiles calls --------------------------------------------------------

    def admit(self, bucket: CompiledBucket, proof: Proof) -> None:
        """Take a proven bucket into service."""
        with self._lock:
            self._proofs[bucket.tokens] = proof
            self._ready[bucket.tokens] = bucket
            self.buckets = with_costs(sorted(self._ready))
        self._wake_up()

    def give_up(self, tokens: int, why: str) -> None:
        """Note that there will be no bucket of this length: its rows run in the next larger one, or are cut."""
        with self._lock:
            self._given_up[tokens] = why
        self._wake_up()

    def fail(self, error: WorkerError) -> None:
        """Note what makes it impossible to go on; the first such thing counts."""
        with self._lock:
            self._trouble = self._trouble or error
        self._wake_up()

    def _state(self, tokens: int) -> dict[str, Any]:
        if (why := self._given_up.get(tokens)) is not None:
            return {"state": "given up", "why": why}
        if (proof := self._proofs.get(tokens)) is None:
            return {"state": "waiting"}
        return {
            "state": "proven",
            "busy_us": proof.rise_us,
            "worst_logit_error": round(proof.worst, 5),
            "rows_per_second": round(proof.rows_per_second, 1),
        }

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake()
