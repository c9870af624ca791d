"""What has happened so far. Counters only rise; rates and means are for the reader to take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from ..protocol.worker_messages import BatchResult
from .busy_union import BusyUnion
from .request import Entry


@dataclass(slots=True)
class Counters:
    """Sums since the broker started.

    Attributes:
        requests: Accepted requests.
        pairs: Pairs of accepted requests.
        answered: Requests answered with scores.
        batches: Batches sent to the worker.
        batch_pairs: Pairs computed in them (identical waiting pairs are computed once).
        batch_callers: Callers served by them, summed over batches.
        joined_pairs: Pairs that another, identical pair's computation answered.
        cached_pairs: Pairs answered from the score cache.
        window_pairs: Further windows of long documents, each scored like a pair.
        tokens: Tokens the model read.
        padded_tokens: Tokens the device ran.
        device_runs: Inferences the worker cut its batches into.
        inference_ms: Device time.
        npu_busy_us: How far the NPU's busy counter rose during batches, overlaps counted once.
        queue_ms: Time from arrival to first start, summed over answered requests.
        truncated_pairs: Pairs of which the model did not read the end.
        retried_pairs: Pairs run again because their batch was lost.
        failed_requests: Requests answered ``failed``.
        expired_requests: Requests whose deadline passed.
        abandoned_requests: Requests given up because the broker was told to stop, or another model came to serve.
        cancelled_requests: Requests whose caller went away or cancelled.
        cancelled_pairs: Their pairs that had not started.
        refused_invalid: Messages refused because they were wrong.
        refused_overloaded: Requests refused because the queue was full.
        refused_unavailable: Requests refused while draining or after repeated worker deaths.
        worker_hellos: Workers that connected or reconnected.
        worker_losses: Workers that failed, were lost or were replaced.
    """

    requests: int = 0
    pairs: int = 0
    answered: int = 0
    batches: int = 0
    batch_pairs: int = 0
    batch_callers: int = 0
    joined_pairs: int = 0
    cached_pairs: int = 0
    window_pairs: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    device_runs: int = 0
    inference_ms: float = 0.0
    npu_busy_us: int = 0
    queue_ms: float = 0.0
    truncated_pairs: int = 0
    retried_pairs: int = 0
    failed_requests: int = 0
    expired_requests: int = 0
    abandoned_requests: int = 0
    cancelled_requests: int = 0
    cancelled_pairs: int = 0
    refused_invalid: int = 0
    refused_overloaded: int = 0
    refused_unavailable: int = 0
    worker_hellos: int = 0
    worker_losses: int = 0
    _busy: BusyUnion = field(default_factory=BusyUnion)

    def note_batch(self, entries: Sequence[Entry]) -> None:
        """Count a batch that is sent to the worker."""
        self.batches += 1
        self.batch_pairs += len(entries)
        self.batch_callers += len({request.caller for entry in entries for request, _ in entry})
        self.joined_pairs += sum(len(entry) - 1 for entry in entries)

    def note_result(self, message: BatchResult) -> None:
        """Count what a batch took."""
        self.tokens += sum(message.tokens)
        self.padded_tokens += message.padded_tokens
        self.device_runs += message.runs
        self.inference_ms += message.inference_ms
        if message.npu_busy_delta_us is not None:
            self._busy.add(message.npu_busy_delta_us, message.npu_busy_total_us)
            self.npu_busy_us = self._busy.total_us
        self.truncated_pairs += len(message.truncated)

    def report(self) -> dict[str, int | float]:
        """Return all counters by name, and the means people ask for."""
        report: dict[str, int | float] = asdict(self)
        del report["_busy"]
        report["inference_ms"] = round(self.inference_ms, 3)
        report["queue_ms"] = round(self.queue_ms, 3)
        report["callers_per_batch"] = round(self.batch_callers / self.batches, 3) if self.batches else 0.0
        report["pairs_per_batch"] = round(self.batch_pairs / self.batches, 3) if self.batches else 0.0
        return report
