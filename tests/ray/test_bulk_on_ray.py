"""``bulk --ray`` on a real cluster of two nodes on this machine, bound to the loopback.

Behind the marker ``ray``: ``make test-ray``. Ray has an environment of its own; broker and worker run as elsewhere.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
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

    @contextmanager
    def bulk(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        command = [str(self.python), "-m", "openvino_reranker", "bulk", *arguments, "--ray", self.address]
        job = subprocess.Popen(
            command, env=environment(self.runtime), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        with job:
            try:
                yield job
            finally:
                job.kill()

    def asked(self) -> int:
        with Reranker(self.runtime / "requests.sock") as reranker:
            return int(reranker.status().counters["requests"])


def environment(runtime: Path) -> dict[str, str]:
    return clean_environment(
        OPENVINO_RERANKER_RUNTIME_DIR=str(runtime),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_raylet_start_wait_time_s="120",  # a node takes long to start on a busy machine
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # or Ray puts this machine's address in the place of the loopback's
    )


@contextmanager
def cluster(python: Path, runtime: Path, resources: dict[str, int]) -> Iterator[Cluster]:
    """Two nodes and a service, which both of them take for theirs."""
    with broker(runtime), ExitStack() as stack:
        worker = TinyWorker(runtime / "workers.sock", 0.02)
        stack.callback(worker.stop)
        nodes = stack.enter_context(
            subprocess.Popen(
                [python, Path(__file__).parent / "programs" / "two_nodes.py", json.dumps(resources)],
                env=environment(runtime),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert nodes.stdout is not None
        address = next((line for line in nodes.stdout if line.startswith("address: ")), None)
        assert address is not None, "the cluster did not start; Ray has said why"
        yield Cluster(address.split()[1], runtime, python)


@pytest.fixture(scope="session")
def python() -> Path:
    return python_with(Path(__file__).parent / "requirements" / "ray.txt")


@pytest.fixture
def both(python: Path, runtime: Path) -> Iterator[Cluster]:
    with cluster(python, runtime, {"openvino_reranker": 1}) as made:
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


def wait_until(holds: Callable[[], bool], job: "subprocess.Popen[str] | None" = None) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert job is None or job.poll() is None, job.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def listeners() -> set[str]:
    """Where the cluster's processes listen."""
    shown = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    of_ray = [line.split() for line in shown if "raylet" in line or "gcs_server" in line or "ray::" in line]
    return {fields[3].rpartition(":")[0].strip("[]").removeprefix("::ffff:") for fields in of_ray}


def test_rows_come_out_once_though_an_actor_and_the_job_are_killed(both: Cluster, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [row(number) for number in range(1, ROWS + 1)]
    write(source, rows)
    command = (str(source), str(output), "--concurrency", "4")
    # The job is killed.
    with both.bulk(*command) as job:
        wait_until(lambda: lines(output) >= 64, job)
        assert listeners() == {"127.0.0.1"}
    done = lines(output)
    assert 64 <= done < ROWS
    wait_until(lambda: not actors())
    # It goes on, and an actor is killed at work.
    before = both.asked()
    with both.bulk(*command) as job:
        wait_until(lambda: len(actors()) == 2 and both.asked() > before, job)  # one a node
        os.kill(actors()[0], signal.SIGKILL)
        said, _ = job.communicate(timeout=300)
        assert job.returncode == 0, said
    assert f"{ROWS - done} rows ranked" in said
    assert ROWS - done < both.asked() - before < 2 * (ROWS - done)  # what the actor had was done again, and no more
    check(output, rows)


def test_where_no_node_runs_the_service_it_says_what_to_do(python: Path, runtime: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [row(1)])
    with cluster(python, runtime, {}) as without, without.bulk(str(source), str(output)) as job:
        said, _ = job.communicate(timeout=120)
    assert "no node of the Ray cluster" in said
    assert "--resources" in said
    assert "Traceback" not in said


def test_where_no_cluster_is_it_says_so(python: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [row(1)])
    nowhere = Cluster(f"127.0.0.1:{free_port()}", tmp_path, python)
    with nowhere.bulk(str(source), str(tmp_path / "out")) as job:
        said, _ = job.communicate(timeout=120)
    assert "no Ray cluster at 127.0.0.1" in said
    assert "Traceback" not in said
