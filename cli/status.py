"""``status``: what the service is doing."""

import argparse
import json
import sys
import time
from typing import Any

import msgspec

from ..client.sync import Reranker
from ..protocol.errors import RerankError
from ..protocol.messages import Status
from .settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON (one line each time with --watch)")
    parser.add_argument("--watch", action="store_true", help="print again every second, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Print the status; 0 if the service is ready, 1 if it is not."""
    settings = read_settings(arguments)
    try:
        with Reranker(settings.requests_socket) as reranker:
            while True:
                status = reranker.status()
                if arguments.watch and not arguments.json and sys.stdout.isatty():
                    print("\033[2J\033[H", end="")
                print(_as_json(status, one_line=arguments.watch) if arguments.json else _as_text(status), flush=True)
                if not arguments.watch:
                    return 0 if status.ready else 1
                time.sleep(1.0)
    except RerankError as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def pids(status: Status) -> dict[str, int | None]:
    """Return the process ids of the three components; None for one that is not there."""
    fronts = status.peers.get("http_front", [])
    return {"broker": status.pid, "worker": status.worker.pid, "http": fronts[-1] if fronts else None}


def _as_json(status: Status, *, one_line: bool) -> str:
    report: dict[str, Any] = msgspec.to_builtins(status)
    for key in ("type", "id"):
        report.pop(key, None)
    report["pids"] = pids(status)
    return json.dumps(report, indent=None if one_line else 2)


def _as_text(status: Status) -> str:
    worker, queue, counters = status.worker, status.queue, status.counters
    shown = ", ".join(f"{name} {pid}" if pid else f"no {name}" for name, pid in pids(status).items())
    rate = f", {worker.tokens_per_second:.0f} tokens/s" if worker.tokens_per_second else ""
    lines = [
        f"ready     {'yes' if status.ready else 'no: ' + status.reason}",
        f"worker    {worker.state}"
        + (f": {worker.model} on {worker.device} ({worker.precision}){rate}" if worker.model else ""),
        f"queue     {queue.requests} requests, {queue.pairs} pairs waiting of {queue.callers} callers",
        f"served    {counters['requests']} requests, {counters['pairs']} pairs in {counters['batches']} batches "
        f"({counters['pairs_per_batch']:.1f} pairs, {counters['callers_per_batch']:.1f} callers a batch)",
        f"trouble   {counters['expired_requests']} expired, {counters['refused_overloaded']} refused, "
        f"{counters['failed_requests']} failed, {counters['worker_losses']} workers lost",
        f"pids      {shown}; up {status.uptime_s:.0f} s",
    ]
    return "\n".join(lines)
