"""``smoke``: does the running service really rank? Questions whose best passage is known, asked for real."""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..bench.target import fetch, is_loopback
from ..client.sync import Reranker
from ..npu_worker.errors import WorkerError
from ..npu_worker.npu.busy_counter import BusyCounter
from ..npu_worker.npu.sysfs import SYSFS
from ..protocol.errors import RerankError, Unavailable


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a fixture: indexes in order with their scores, the device, and its busy time."""

    order: list[int]
    scores: list[float]
    device: str
    npu_busy_delta_us: int | None
    milliseconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="the HTTP front, such as http://127.0.0.1:18818")
    target.add_argument("--socket", metavar="PATH", type=Path, help="the broker's requests.sock")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for all of it (default 60)")


def run(arguments: argparse.Namespace, sysfs: Path = SYSFS) -> int:
    """Run all checks and print them; 0 only if all hold."""
    deadline = time.monotonic() + arguments.timeout
    counter = read_counter(sysfs)
    try:
        if arguments.url:
            url = arguments.url.rstrip("/")
            _wait_ready(lambda: _http_ready(url), deadline)
            answers = [_ask_http(url, fixture, deadline) for fixture in FIXTURES]
        else:
            with Reranker(arguments.socket) as reranker:
                _wait_ready(lambda: _socket_ready(reranker), deadline)
                answers = [_ask_socket(reranker, fixture, deadline) for fixture in FIXTURES]
    except (RerankError, OSError, ValueError, KeyError) as error:
        print(f"FAIL  {error}")
        print(f"openvino-reranker: the service at {arguments.url or arguments.socket} failed", file=sys.stderr)
        return 1
    problems = [
        problem for fixture, answer in zip(FIXTURES, answers, strict=True) for problem in check(fixture, answer)
    ]
    if any(answer.device == "NPU" for answer in answers) and _is_here(arguments.url):
        problems += check_counter(counter, read_counter(sysfs))
    for fixture, answer in zip(FIXTURES, answers, strict=True):
        word = "FAIL" if check(fixture, answer) else "ok"
        busy = "" if answer.npu_busy_delta_us is None else f", NPU busy {answer.npu_busy_delta_us} us"
        print(f"{word:<5} {answer.milliseconds:7.1f} ms  {answer.device}{busy}  {fixture.query}")
    for problem in problems:
        print(f"FAIL  {problem}")
    print("smoke: FAILED" if problems else "smoke: all checks hold")
    return 1 if problems else 0


def check(fixture: Fixture, answer: Answer) -> list[str]:
    """Return what is wrong with an answer; nothing if all is right."""
    problems = []
    if sorted(answer.order) != list(range(len(fixture.passages))):
        problems.append(f"{fixture.query!r}: the answer names documents {answer.order}, not each once")
    if not all(math.isfinite(score) for score in answer.scores):
        problems.append(f"{fixture.query!r}: a score is not finite: {answer.scores}")
    if answer.scores != sorted(answer.scores, reverse=True):
        problems.append(f"{fixture.query!r}: the scores are not sorted: {answer.scores}")
    if answer.order[:1] != [fixture.best]:
        problems.append(f"{fixture.query!r}: document {answer.order[:1]} came first, not {fixture.best}")
    if answer.device == "NPU" and not (answer.npu_busy_delta_us or 0) > 0:
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
    for each in (before, after):
        if isinstance(each, str):
            return [f"answered by NPU, but {each}"]
    if before == after:
        return [f"answered by NPU, but the busy time in sysfs stayed at {before} us"]
    return []


def _is_here(url: str | None) -> bool:
    """Return whether the service runs on this machine, where its NPU's sysfs is."""
    return url is None or is_loopback(url)


def _wait_ready(ready: Callable[[], str], deadline: float) -> None:
    while reason := ready():
        if time.monotonic() >= deadline:
            raise ValueError(f"not ready: {reason}")
        time.sleep(0.2)


def _socket_ready(reranker: Reranker) -> str:
    status = reranker.status()
    return "" if status.ready else status.reason


def _http_ready(url: str) -> str:
    try:
        fetch(f"{url}/readyz", None, 5.0)
    except Unavailable as error:
        return error.message
    return ""


def _ask_http(url: str, fixture: Fixture, deadline: float) -> Answer:
    started = time.monotonic()
    body = {"query": fixture.query, "documents": list(fixture.passages)}
    found = fetch(f"{url}/rerank", body, max(1.0, deadline - started))
    return Answer(
        [result["index"] for result in found["results"]],
        [result["score"] for result in found["results"]],
        found["device"],
        found["npu_busy_delta_us"],
        (time.monotonic() - started) * 1000,
    )


def _ask_socket(reranker: Reranker, fixture: Fixture, deadline: float) -> Answer:
    started = time.monotonic()
    ranking = reranker.rerank(fixture.query, fixture.passages, timeout=max(1.0, deadline - started))
    return Answer(
        ranking.order,
        [hit.score for hit in ranking.hits],
        ranking.device,
        ranking.npu_busy_delta_us,
        (time.monotonic() - started) * 1000,
    )
