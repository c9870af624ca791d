"""``smoke``: check a running service with questions whose best passage is known."""

import argparse
import contextlib
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..bench.target import Target
from ..client.ranking import Ranking
from ..npu_worker.errors import WorkerError
from ..npu_worker.npu.busy_counter import BusyCounter
from ..npu_worker.npu.sysfs import SYSFS
from ..protocol.errors import RerankError, Unavailable
from .settings import read_settings
from .target import add_target, target_of


@dataclass(frozen=True, slots=True)
class Fixture:
    """A question, the place of its best passage, and passages that are near but wrong."""

    query: str
    best: int
    passages: tuple[str, ...]


FIXTURES = (
    Fixture(
        "how do I verify OpenVINO NPU usage?",
        1,
        (
            "This note is about making sourdough starter.",
            "To verify that OpenVINO uses the NPU, check npu_busy_time_us in sysfs before and after inference.",
            "OpenVINO is published under the Apache licence.",
            "A new mouse was verified to work with the laptop.",
        ),
    ),
    Fixture(
        "How many people live in Berlin?",
        2,
        (
            "Berlin is well known for its museums.",
            "Paris has about two million inhabitants.",
            "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
            "How to live well on little money.",
        ),
    ),
    Fixture(
        "why does my bread not rise",
        0,
        (
            "Bread dough that does not rise usually has dead yeast, too much salt, or stands in a cold place.",
            "Bread prices rose by four percent last year.",
            "The sun rises in the east.",
            "Yeast is a fungus used for brewing beer.",
        ),
    ),
    Fixture(
        "when was the bridge over the river closed?",
        3,
        (
            "The bridge over the river is 300 metres long.",
            "The river is closed to swimmers.",
            "A bridge is a card game for four players.",
            "The bridge over the river was closed in March 2019 after cracks were found.",
        ),
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    add_target(parser, required=True)
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="time limit of the whole test, s (default 60)"
    )


def run(arguments: argparse.Namespace, sysfs: Path = SYSFS) -> int:
    """Run all checks and print them; 0 only if all pass."""
    target = target_of(arguments, read_settings(arguments))
    deadline = time.monotonic() + arguments.timeout
    counter = read_counter(sysfs)
    try:
        _wait_ready(target, deadline)
        with contextlib.closing(target.reranker()) as reranker:
            rankings = [
                reranker.rerank(
                    fixture.query,
                    fixture.passages,
                    timeout=max(1.0, deadline - time.monotonic()),
                    use_cache=False,  # a cached score proves nothing about now
                )
                for fixture in FIXTURES
            ]
    except (RerankError, ValueError) as error:
        print(f"FAIL  {error}")
        print(f"openvino-reranker: the service at {target} failed", file=sys.stderr)
        return 1
    problems = [
        problem for fixture, ranking in zip(FIXTURES, rankings, strict=True) for problem in check(fixture, ranking)
    ]
    if any(ranking.device == "NPU" for ranking in rankings) and target.is_here:
        problems += check_counter(counter, read_counter(sysfs))
    for fixture, ranking in zip(FIXTURES, rankings, strict=True):
        verdict = "FAIL" if check(fixture, ranking) else "ok"
        busy = "" if ranking.npu_busy_delta_us is None else f", NPU busy {ranking.npu_busy_delta_us} us"
        print(f"{verdict:<5} {ranking.timings_ms.total:7.1f} ms  {ranking.device}{busy}  {fixture.query}")
    for problem in problems:
        print(f"FAIL  {problem}")
    print("smoke: FAILED" if problems else "smoke: all checks passed")
    return 1 if problems else 0


def check(fixture: Fixture, ranking: Ranking) -> list[str]:
    """Return what is wrong with a ranking; nothing if all is correct."""
    scores = [hit.score for hit in ranking.hits]
    problems = []
    if sorted(ranking.order) != list(range(len(fixture.passages))):
        problems.append(f"{fixture.query!r}: the answer ranks documents {ranking.order}, not each exactly once")
    if not all(math.isfinite(score) for score in scores):
        problems.append(f"{fixture.query!r}: a score is not finite: {scores}")
    if scores != sorted(scores, reverse=True):
        problems.append(f"{fixture.query!r}: the scores are not sorted: {scores}")
    if ranking.order[:1] != [fixture.best]:
        problems.append(f"{fixture.query!r}: document {ranking.order[:1]} came first, not {fixture.best}")
    if ranking.device == "NPU" and not (ranking.npu_busy_delta_us or 0) > 0:
        problems.append(f"{fixture.query!r}: answered by NPU, but its busy time did not rise")
    return problems


def read_counter(sysfs: Path) -> int | str:
    """Return this machine's NPU busy time, us, or why there is none."""
    try:
        return BusyCounter(sysfs).read()
    except WorkerError as error:
        return str(error)


def check_counter(before: int | str, after: int | str) -> list[str]:
    """Return what is wrong with the busy time around answers of an NPU on this machine; nothing if it rose."""
    for reading in (before, after):
        if isinstance(reading, str):
            return [f"answered by NPU, but {reading}"]
    if before == after:
        return [f"answered by NPU, but the busy time in sysfs stayed at {before} us"]
    return []


def _wait_ready(target: Target, deadline: float) -> None:
    """Wait for a service that is starting; fail at once if there is none.

    Raises:
        Unavailable: It cannot be reached, or was not ready in time.
        ValueError: The URL is wrong, or something else answers there.
    """
    while not (status := target.status())["ready"]:
        if time.monotonic() >= deadline:
            raise Unavailable(f"not ready: {status['reason']}")
        time.sleep(0.2)
