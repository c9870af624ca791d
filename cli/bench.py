"""``bench``: put load on a running service and report its throughput and latency."""

import argparse
import contextlib
import json
import math
import os
import sys
from dataclasses import replace
from typing import Any

from ..bench.floor import measure_floor
from ..bench.report import compare, compare_requests, rss_mb, summarise, table
from ..bench.run import Group, Seen, run_load
from ..bench.target import Caller, Target
from ..bench.texts import Workload
from ..protocol.errors import RerankError
from .argument_types import positive
from .model_choice import find_model
from .settings import Settings, read_settings
from .target import add_target, target_of

#: Requests of each caller before the engine's turn, with ``--ceiling``.
_ROUND = 4

EPILOG = """examples:
  openvino-reranker bench                                     8 callers of 20 passages, over the socket
  openvino-reranker bench --url http://127.0.0.1:18818        the same over HTTP
  openvino-reranker bench --mix 1x5 --mix 1x1000:bulk         a person while a bulk job runs
  openvino-reranker bench --repeat 0.8                        callers that repeat most of their passages
  openvino-reranker bench --ceiling                           and the rate of the device alone, to compare
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    add_target(parser)
    parser.add_argument(
        "--mix",
        action="append",
        type=_group,
        metavar="CxP",
        help="C callers with P passages per request; append ':bulk' for the bulk class; may be repeated (default 8x20)",
    )
    parser.add_argument(
        "--requests", type=positive, default=10, metavar="N", help="requests of each caller (default 10)"
    )
    parser.add_argument(
        "--repeat",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of passages that repeat earlier ones of the same caller, 0 to 1 (they hit the score cache)",
    )
    parser.add_argument("--ceiling", action="store_true", help="also run the same pairs through the engine alone")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the load and print the results; 0 if every request was answered with scores."""
    # multiprocessing starts its processes with -c, which would import from the working folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    settings = read_settings(arguments)
    groups: list[Group] = arguments.mix or [Group(8, 20)]
    try:
        report = _bench(target_of(arguments, settings), groups, arguments, settings)
    except (RerankError, ValueError) as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2) if arguments.json else table(report))
    return 1 if report["errors"] else 0


def _bench(target: Target, groups: list[Group], arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from tqdm import tqdm

    before = target.status_when_ready()
    worker = before["worker"]
    ceiling = _open_ceiling(worker, settings) if arguments.ceiling else None
    count = arguments.requests
    rounds = (
        [range(start, min(start + _ROUND, count)) for start in range(0, count, _ROUND)] if ceiling else [range(count)]
    )
    workload = Workload(arguments.repeat)
    seen: list[Seen] = []
    memory_before = rss_mb(before["pids"])
    seconds = 0.0
    total = sum(group.callers for group in groups) * count
    with tqdm(total=total, unit="request", disable=None, leave=False) as bar:

        def on_answer(answer: Seen) -> None:
            seen.append(answer)
            bar.update()

        for numbers in rounds:
            if ceiling:
                ceiling.run(groups, workload, numbers)
            seconds += run_load(target, groups, workload, numbers, on_answer)
    after = target.status_when_ready()
    report = {
        "target": str(target),
        "model": worker["model"],
        "device": worker["device"],
        "precision": worker["precision"],
        **summarise(groups, seen, seconds, before, after),
        "rss_mb_before": memory_before,
        "rss_mb_after": rss_mb(after["pids"]),
    }
    if ceiling:
        ceiling.run(groups, workload, rounds[-1])
        report["ceiling"] = compare(
            report["pairs_per_s"], ceiling.pairs_per_s, ceiling.fixed_pairs_per_s, ceiling.fixed_shape
        )
        if len(groups) == 1 and groups[0].callers == 1:
            with contextlib.closing(Caller(target)) as caller:
                report["ceiling"] |= compare_requests(
                    ceiling.beside(caller, groups[0].passages, range(count)), measure_floor(max(count, 50))
                )
    return report


def _open_ceiling(worker: dict[str, Any], settings: Settings) -> Any:
    from ..bench.ceiling import Ceiling
    from ..npu_worker.errors import WorkerError
    from ..npu_worker.model.errors import ModelError
    from ..npu_worker.model.store import load

    if worker["device"] == "NPU":
        raise ValueError("--ceiling opens the device a second time, which an NPU does not allow; use 'doctor --npu'")
    try:
        folder = find_model(replace(settings, device=worker["device"]))
        name = load(folder).card.name
        if name != worker["model"]:
            raise ValueError(
                f"--ceiling would measure {name}, and the service has {worker['model']}: name that one with --model "
                "(or --model-dir), and its weights with --precision"
            )
        return Ceiling(folder, worker["device"], worker["precision"], settings.threads)
    except (WorkerError, ModelError) as error:
        raise ValueError(str(error)) from error


def _group(text: str) -> Group:
    try:
        return Group.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share
