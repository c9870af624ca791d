"""``bulk --ray`` on a real cluster of two nodes on this machine, bound to the loopback.

Behind the marker ``ray``: ``make test-ray``. Ray has an environment of its own; broker and worker run as elsewhere.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.tests.bulk.test_bulk import check, row, write
from openvino_reranker.tests.deploy.haproxy import free_port
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import broker, clean_environment
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

ROWS = 400


@dataclass
class Cluster:
    address: str
    runtime: Path
    python: Path
    environment: dict[str, str]

    def bulk(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.python, "-m", "openvino_reranker", "bulk", *arguments, "--ray", self.address],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def asked(self) -> int:
        with Reranker(self.runtime / "requests.sock") as reranker:
            return int(reranker.status().counters["requests"])


@contextmanager
def node(python: Path, environment: dict[str, str], *arguments: str) -> Iterator[None]:
    """A node of a cluster; what it started ends with it."""
    command = [str(python.with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2"]
    process = subprocess.Popen(
        [*command, "--object-store-memory=100000000", "--disable-usage-stats", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def cluster(python: Path, runtime: Path, *of_a_node: str) -> Iterator[Cluster]:
    """Two nodes and a service, which both of them take for theirs."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    environment = clean_environment(OPENVINO_RERANKER_RUNTIME_DIR=str(runtime), RAY_USAGE_STATS_ENABLED="0")
    address = f"127.0.0.1:{free_port()}"
    head = ("--head", f"--port={address.rsplit(':', 1)[1]}", "--include-dashboard=false", f"--temp-dir={folder}")
    try:
        with ExitStack() as stack:
            stack.enter_context(broker(runtime))
            worker = TinyWorker(runtime / "workers.sock", 0.02)
            stack.callback(worker.stop)
            stack.enter_context(node(python, environment, *head, *of_a_node))
            wait_for_nodes(python, environment, address, 1)
            stack.enter_context(node(python, environment, f"--address={address}", *of_a_node))
            wait_for_nodes(python, environment, address, 2)
            yield Cluster(address, runtime, python, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_nodes(python: Path, environment: dict[str, str], address: str, count: int) -> None:
    until = time.monotonic() + 120
    while True:
        status = subprocess.run(
            [python.with_name("ray"), "status", f"--address={address}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if len(re.findall(r"^ 1 node_", status.stdout, re.M)) == count:
            return
        assert time.monotonic() < until, status.stdout + status.stderr
        time.sleep(0.5)


@pytest.fixture(scope="session")
def python() -> Path:
    return python_with(Path(__file__).parent / "requirements" / "ray.txt")


@pytest.fixture
def both(python: Path, runtime: Path) -> Iterator[Cluster]:
    with cluster(python, runtime, "--resources", json.dumps({"openvino_reranker": 1})) as made:
        yield made


def actors() -> list[int]:
    """The processes of the cluster's actors that rank."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if b"MapWorker(MapBatches(_Actor))" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(job: "subprocess.Popen[str]", output: Path, count: int) -> None:
    until = time.monotonic() + 120
    while lines(output) < count:
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_rows_come_out_once_though_an_actor_and_the_job_are_killed(both: Cluster, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [row(number) for number in range(1, ROWS + 1)]
    write(source, rows)
    command = (str(source), str(output), "--at-once", "4")
    # The job is killed.
    job = both.bulk(*command)
    wait_for_lines(job, output, 64)
    job.kill()
    job.communicate()
    done = lines(output)
    assert 64 <= done < ROWS
    until = time.monotonic() + 60
    while actors():
        assert time.monotonic() < until
        time.sleep(0.1)
    # It goes on, and an actor is killed at work.
    before = both.asked()
    job = both.bulk(*command)
    wait_for_lines(job, output, done + 1)
    running = actors()
    assert len(running) == 2  # one a node
    os.kill(running[0], signal.SIGKILL)
    said, _ = job.communicate(timeout=300)
    assert job.returncode == 0, said
    assert f"{ROWS - done} rows ranked" in said
    assert ROWS - done <= both.asked() - before < 2 * (ROWS - done)  # what the actor had was done again, no more
    check(output, rows)


def test_where_no_node_runs_the_service_it_says_what_to_do(python: Path, runtime: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [row(1)])
    with cluster(python, runtime) as without:
        said, _ = without.bulk(str(source), str(output)).communicate(timeout=300)
    assert "no node of the Ray cluster" in said
    assert "--resources" in said
    assert "Traceback" not in said


def test_where_no_cluster_is_it_says_so(python: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [row(1)])
    nowhere = Cluster(f"127.0.0.1:{free_port()}", tmp_path, python, clean_environment(RAY_USAGE_STATS_ENABLED="0"))
    said, _ = nowhere.bulk(str(source), str(tmp_path / "out")).communicate(timeout=300)
    assert "no Ray cluster at 127.0.0.1" in said
    assert "Traceback" not in said
