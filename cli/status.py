"""``status``: show what the service is doing."""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from ..client.sync import Reranker
from ..protocol.errors import RerankError
from ..protocol.status_messages import Status
from .settings import read_settings

#: Between two samples with ``--watch``, s.
EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON (one line each time with --watch)")
    parser.add_argument("--watch", action="store_true", help="refresh every second until Ctrl-C, also across restarts")


def run(arguments: argparse.Namespace) -> int:
    """Print the status; 0 if the service is ready, 1 if it is not; with ``--watch``, 0 at Ctrl-C."""
    settings = read_settings(arguments)
    with Reranker(settings.requests_socket) as reranker:
        if arguments.watch:
            try:
                _show_all(watch(reranker, EVERY_S), as_json=arguments.json)
            except KeyboardInterrupt:
                return 0
        try:
            status = reranker.status()
        except RerankError as error:
            print(f"openvino-reranker: {error}", file=sys.stderr)
            return 1
    print(json.dumps(as_json(status), indent=2) if arguments.json else as_text(status))
    return 0 if status.ready else 1


def watch(reranker: Reranker, every_s: float) -> Iterator[Status | RerankError]:
    """Yield the status, or why there is none, every few seconds, forever."""
    while True:
        try:
            yield reranker.status()
        except RerankError as error:
            yield error
        time.sleep(every_s)


def _show_all(samples: Iterator[Status | RerankError], *, as_json: bool) -> None:
    if as_json:
        for sample in samples:
            print(json.dumps(_as_json_line(sample)), flush=True)
    elif sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        from .status_view import show

        show(samples)
    else:
        for sample in samples:
            text = f"ready     no: {sample.message}" if isinstance(sample, RerankError) else as_text(sample)
            print(f"{time.strftime('%H:%M:%S')}\n{text}\n", flush=True)


def _as_json_line(sample: Status | RerankError) -> dict[str, Any]:
    return {"ready": False, "reason": sample.message} if isinstance(sample, RerankError) else as_json(sample)


def as_json(status: Status) -> dict[str, Any]:
    """Return everything a status says, for programs."""
    report: dict[str, Any] = msgspec.to_builtins(status)
    for key in ("type", "id"):
        report.pop(key, None)
    report["pids"] = status.pids()
    return report


def as_text(status: Status) -> str:
    """Return the status in a few lines, for people."""
    worker, queue, counters = status.worker, status.queue, status.counters
    pids = ", ".join(f"{name} {pid}" if pid else f"no {name}" for name, pid in status.pids().items())
    rate = f", {worker.tokens_per_second:.0f} tokens/s" if worker.tokens_per_second else ""
    lines = [
        f"ready     {'yes' if status.ready else 'no: ' + status.reason}",
        f"worker    {worker.state}"
        + (f": {worker.model} on {worker.device} ({worker.precision}){rate}" if worker.model else ""),
        f"queue     {queue.requests} requests; {queue.pairs} pairs of {queue.callers} callers are waiting",
        f"served    {counters['requests']} requests, {counters['pairs']} pairs in {counters['batches']} batches "
        f"({counters['pairs_per_batch']:.1f} pairs, {counters['callers_per_batch']:.1f} callers per batch)",
        f"errors    {errors_in_words(status)}",
        f"pids      {pids}; up {status.uptime_s:.0f} s",
    ]
    return "\n".join(lines)


def errors_in_words(status: Status) -> str:
    """Return the counts of failures."""
    counters = status.counters
    return (
        f"{counters['expired_requests']} expired, {counters['refused_overloaded']} refused, "
        f"{counters['failed_requests']} failed, {counters['worker_losses']} workers lost"
    )
