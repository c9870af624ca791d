"""``/metrics``: the broker's counters as Prometheus reads them. The front itself counts nothing."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..protocol.status_messages import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Counter of the broker -> metric, what it is, and what one of it is worth in the metric's unit.
_COUNTERS = (
    ("requests", "requests", "Requests accepted.", 1.0),
    ("pairs", "pairs", "Pairs of accepted requests.", 1.0),
    ("answered", "requests_answered", "Requests answered with scores.", 1.0),
    ("queue_ms", "queue_wait_seconds", "Time from arrival to first start of answered requests.", 0.001),
    ("batches", "batches", "Batches sent to the worker.", 1.0),
    ("batch_pairs", "batch_pairs", "Pairs computed in batches.", 1.0),
    ("batch_callers", "batch_callers", "Callers served by batches, summed over batches.", 1.0),
    ("joined_pairs", "joined_pairs", "Pairs answered by an identical pair's computation.", 1.0),
    ("cached_pairs", "cached_pairs", "Pairs answered from the score cache.", 1.0),
    ("window_pairs", "window_pairs", "Further windows of long documents.", 1.0),
    ("tokens", "tokens", "Tokens the model read.", 1.0),
    ("padded_tokens", "padded_tokens", "Tokens the device ran.", 1.0),
    ("device_runs", "device_runs", "Inferences on the device.", 1.0),
    ("inference_ms", "inference_seconds", "Device time.", 0.001),
    ("npu_busy_us", "npu_busy_seconds", "How far the NPU's busy counter rose during batches.", 1e-6),
    ("truncated_pairs", "truncated_pairs", "Pairs of which the model saw only the beginning.", 1.0),
    ("retried_pairs", "retried_pairs", "Pairs run again because their batch was lost.", 1.0),
    ("failed_requests", "requests_failed", "Requests the model failed on.", 1.0),
    ("expired_requests", "requests_expired", "Requests whose deadline passed.", 1.0),
    ("abandoned_requests", "requests_abandoned", "Requests given up at a stop, or at a change of model.", 1.0),
    ("cancelled_requests", "requests_cancelled", "Requests whose caller went away.", 1.0),
    ("cancelled_pairs", "pairs_cancelled", "Pairs of cancelled requests that had not started.", 1.0),
    ("worker_hellos", "worker_hellos", "Workers that connected or reconnected.", 1.0),
    ("worker_losses", "worker_losses", "Workers that failed, were lost or were replaced.", 1.0),
)
_REFUSALS = ("invalid", "overloaded", "unavailable")


def exposition(status: Status) -> bytes:
    """Return a status in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))
    return generate_latest(registry)


class _StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        counters: dict[str, Any] = self._status.counters
        for key, name, text, unit in _COUNTERS:
            yield CounterMetricFamily(f"reranker_{name}", text, value=counters[key] * unit)
        refused = CounterMetricFamily("reranker_requests_refused", "Requests refused.", labels=["reason"])
        for reason in _REFUSALS:
            refused.add_metric([reason], counters[f"refused_{reason}"])
        yield refused
        queue, worker = self._status.queue, self._status.worker
        for name, text, value in (
            ("ready", "Whether a request would be answered now.", float(self._status.ready)),
            ("queued_requests", "Requests not yet answered.", queue.requests),
            ("queued_pairs", "Pairs not yet on the device.", queue.pairs),
            ("queued_bytes", "Bytes of their texts.", queue.bytes),
            ("batches_in_flight", "Batches the worker holds.", worker.in_flight_batches),
            ("tokens_per_second", "The device's measured rate, padded tokens.", worker.tokens_per_second or 0.0),
        ):
            yield GaugeMetricFamily(f"reranker_{name}", text, value=value)
        about = GaugeMetricFamily(
            "reranker_info", "The model and device in service.", labels=["model", "device", "precision"]
        )
        about.add_metric([worker.model or "", worker.device or "", worker.precision or ""], 1.0)
        yield about
