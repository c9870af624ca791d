"""How fast a bucket is: rows per second, with this many in flight, and what frequency the NPU had meanwhile."""

import queue
import threading
import time
from functools import partial
from pathlib import Path
from types import TracebackType

from ...protocol.timeouts import DEFAULT_TIMEOUTS
from ..npu.compiled_bucket import BucketRequest, CompiledBucket
from ..npu.sysfs import find_npu, frequencies
from ..tokenization import Row

#: How often the frequency is looked at, s.
_SAMPLE_EVERY_S = 0.05


def measure_rate(bucket: CompiledBucket, row: Row, in_flight: int, seconds: float) -> float:
    """Return rows a second.

    Args:
        bucket: The bucket; nothing else may use its requests meanwhile.
        row: The row to run, over and over.
        in_flight: How many at once; no more than the bucket has requests.
        seconds: For how long.

    Raises:
        RuntimeError: The device failed, or stopped answering.
        ArithmeticError: A logit was NaN or infinite.
    """
    ended: queue.SimpleQueue[BucketRequest] = queue.SimpleQueue()
    running = finished = 0
    began = time.monotonic()
    for request in bucket.free[:in_flight]:
        request.start(row, partial(ended.put, request))
        running += 1
    while running:
        try:
            request = ended.get(timeout=DEFAULT_TIMEOUTS.device_stuck)
        except queue.Empty:
            raise RuntimeError(f"no row ended within {DEFAULT_TIMEOUTS.device_stuck:g} s") from None
        logit = request.logit()
        if isinstance(logit, Exception):
            raise logit
        finished += 1
        if time.monotonic() - began < seconds:
            request.start(row, partial(ended.put, request))
        else:
            running -= 1
    return finished / (time.monotonic() - began)


class FrequencySampler:
    """Looks at the NPU's frequency while entered: an idle one sleeps within 0.1 s and then says 0.

    Args:
        sysfs: Where sysfs is.

    Attributes:
        highest: The highest frequency seen, MHz; None where the kernel does not tell.
        samples: How often it was looked at.
    """

    def __init__(self, sysfs: Path) -> None:
        self.highest: int | None = None
        self.samples = 0
        self._npu = find_npu(sysfs)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="openvino-reranker-frequency")

    def __enter__(self) -> "FrequencySampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._npu is not None:
            current = frequencies(self._npu).get("current")
            if current is not None:
                self.highest = max(current, self.highest or 0)
            self.samples += 1
            if self._done.wait(_SAMPLE_EVERY_S):
                return
