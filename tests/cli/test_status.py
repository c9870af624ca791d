"""status: once, and again and again over restarts of the broker."""

import io
import json
import os
import re
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace
from openvino_reranker.cli.status import watch
from openvino_reranker.cli.status_view import StatusView, show
from openvino_reranker.client import Reranker, RerankError, Unavailable
from openvino_reranker.protocol.limits import DEFAULT_LIMITS
from openvino_reranker.protocol.status_messages import CallerStatus, QueueStatus, Status, WorkerStatus
from openvino_reranker.tests.processes import Program, Run
from rich.console import Console


def status(uptime_s: float, pairs: int, *, epoch: str = "e", ready: bool = True, reason: str = "ready") -> Status:
    means = {"pairs_per_batch": 7.8, "callers_per_batch": 4.0}
    names = ("requests", "batches", "batch_callers", "expired_requests", "refused_overloaded", "failed_requests")
    counters = dict.fromkeys(names, 3) | means | {"worker_losses": 3, "pairs": pairs, "batch_pairs": pairs}
    counters |= {"tokens": pairs * 100, "padded_tokens": pairs * 125, "npu_busy_us": pairs * 10_000}
    counters |= {"answered": pairs, "queue_ms": pairs * 7, "inference_ms": pairs * 10.0}
    return Status(
        id=b"x",
        epoch=epoch,
        pid=10,
        uptime_s=uptime_s,
        ready=ready,
        reason=reason,
        queue=QueueStatus(requests=2, pairs=200, bytes=1, callers=1),
        worker=WorkerStatus(state="busy", pid=11, model="mini[lm]", device="NPU", precision="f16"),
        peers={"http_front": [12]},
        counters=counters,
        limits=DEFAULT_LIMITS,
        callers=[CallerStatus("1000:77", 300, 0.75, 0), CallerStatus("http uid 5", 100, 0.25, 9)],
    )


def test_without_a_service_it_says_how_to_start_one(run: Run, runtime: Path) -> None:
    done = run("status", "--runtime-dir", str(runtime))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "openvino-reranker serve" in done.stderr


def test_watching_goes_on_while_the_broker_is_restarted(runtime: Path) -> None:
    with Reranker(runtime / "requests.sock") as reranker:
        looks = watch(reranker, 0.05)
        assert isinstance(next(looks), Unavailable)
        epochs = []
        for _ in range(2):
            with Program("broker", "--runtime-dir", str(runtime)):
                look = next(each for each in looks if isinstance(each, Status))
                epochs.append(look.epoch)
            assert isinstance(next(each for each in looks if not isinstance(each, Status)), Unavailable)
        assert len(set(epochs)) == 2


def test_watch_as_json_is_a_line_each_and_ends_cleanly(runtime: Path) -> None:
    with Program("status", "--watch", "--json", "--runtime-dir", str(runtime)) as watching:
        line = json.loads(watching.wait_for_line("{"))
        assert line["ready"] is False
        assert "openvino-reranker serve" in line["reason"]
        assert watching.stop(signal.SIGINT) == 0
        assert "Traceback" not in watching.output


@pytest.mark.parametrize("width", [60, 120])
def test_the_picture_says_what_is_going_on(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    looks: list[Status | RerankError] = [
        status(5, 100),
        status(6, 140),
        Unavailable("nothing is listening [here]"),
        status(1, 0, epoch="next", ready=False, reason="no worker is ready: [compiling]"),
    ]
    pictures = []
    view = StatusView()
    for look in looks:
        with console.capture() as captured:
            console.print(view.render(look))
        pictures.append(captured.get())
    ready, later, unavailable, not_ready = pictures
    assert "mini[lm] on NPU (f16), busy" in ready
    assert "pairs/s" not in ready  # the first look
    assert "40.0 pairs/s, 4,000 tokens/s, device busy 40%" in later
    assert "7 ms in the queue, 20% padding" in later
    assert "1000:77 75%, http uid 5 25%" in later
    assert "█" in later
    assert "1.0%" in later.replace("\n", "")
    assert "unavailable" in unavailable
    assert "nothing is listening [here]" in unavailable
    assert "no worker is ready: [compiling]" in not_ready
    assert all(len(line) <= width for picture in pictures for line in picture.splitlines())


def test_memory_is_told_of_processes_that_can_be_seen() -> None:
    console = Console(file=io.StringIO(), width=80)
    unseen = 2**22 + 1  # beyond what Linux gives
    worker = WorkerStatus(state="idle", pid=unseen)
    console.print(
        StatusView().render(replace(status(5, 1), pid=os.getpid(), worker=worker, peers={"http_front": [os.getppid()]}))
    )
    assert re.search(r"memory +broker [\d,]+ MB, http [\d,]+ MB ", console.file.getvalue())  # type: ignore[attr-defined]


def test_it_is_drawn_over_the_one_before() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    show([status(5, 100), status(6, 140)], console)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert drawn.count("openvino-reranker:") >= 2
    assert "\x1b[" in drawn


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5 s"), (65, "1 min 5 s"), (3_700, "1 h 1 min"), (100_000, "1 d 3 h")]
)
def test_how_long_it_has_run(seconds: float, shown: str) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(StatusView().render(status(seconds, 1)))
    assert f"; up {shown} " in console.file.getvalue()  # type: ignore[attr-defined]
