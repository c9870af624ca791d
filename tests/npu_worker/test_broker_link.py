"""A worker and its broker: looked for, greeted once, missed once. Real processes, no model."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openvino_reranker.client import Reranker, Unavailable
from openvino_reranker.npu_worker.announcement import Announcement
from openvino_reranker.protocol.status_messages import Status
from openvino_reranker.tests.processes import ROOT, Program, clean_environment


@contextmanager
def worker_without_a_device(runtime: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The real loop; an unanswered hello is said again after 0.1 s."""
    program = ROOT / "tests" / "systemd" / "hanging_worker.py"
    command = [sys.executable, str(program), str(runtime / "workers.sock"), "1000", "60", "0.1"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=clean_environment(), stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(reranker: Reranker, wanted: str) -> Status:
    """Return the status once its reason holds ``wanted``."""
    deadline = time.monotonic() + 30
    while True:
        try:
            status = reranker.status(timeout=2)
            if wanted in status.reason:
                return status
        except Unavailable as error:
            status = error  # type: ignore[assignment]
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def test_a_late_broker_is_greeted_once_and_a_lost_one_is_missed_once(runtime: Path, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with worker_without_a_device(runtime, log) as worker:
        time.sleep(1.5)  # time for a dozen hellos into the void
        for _ in range(2):
            with Program("broker", "--runtime-dir", str(runtime)) as program:
                program.wait_for_line("listening on")
                with Reranker(runtime / "requests.sock") as reranker:
                    status = wait_until(reranker, "ready")
                    while not status.ready:
                        status = wait_until(reranker, "ready")
                    time.sleep(0.3)
                    assert reranker.status().counters["worker_hellos"] == 1
                    assert len(reranker.rerank("q", ["a", "b"]).hits) == 2
                program.process.kill()
            time.sleep(1.5)
        assert worker.poll() is None
    lines = log.read_text().splitlines()
    assert sum("went away" in line for line in lines) == 2
    assert sum("serving broker" in line for line in lines) == 2
    assert len(lines) < 8, lines


def test_what_a_starting_worker_does_is_shown_as_it_is_now(runtime: Path) -> None:
    with Announcement(runtime / "workers.sock", "loading") as announcement:
        for number in range(1, 40):  # nobody hears these
            announcement.say(f"compiling {number}/40")
        with Program("broker", "--runtime-dir", str(runtime)) as program:
            program.wait_for_line("listening on")
            with Reranker(runtime / "requests.sock") as reranker:
                assert "compiling 39/40" in wait_until(reranker, "says:").reason
                announcement.say("compiling 40/40")
                wait_until(reranker, "compiling 40/40")
    with pytest.raises(Unavailable), Reranker(runtime / "requests.sock") as reranker:
        reranker.status()
