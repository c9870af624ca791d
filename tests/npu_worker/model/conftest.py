"""Fixtures of the model tests: the packaged model for real, a tiny BERT, a hub, and the command in its own process."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.npu_worker.inputs import feed, known_ports
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.openvino_core import shared_core
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.tests.npu_worker.model.hub_server import HubServer
from openvino_reranker.tests.npu_worker.model.tiny_bert import write_folder

ROOT = Path(__file__).parents[3]

Score = Callable[[ReadyModel, str, str], float]
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def score() -> Score:
    """Score one pair with a ready model, in f32."""
    compiled: dict[Path, Any] = {}

    def run(ready: ReadyModel, query: str, passage: str) -> float:
        model = compiled.get(ready.folder)
        if model is None:
            path = ready.folder / "model.xml"
            model = shared_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            compiled[ready.folder] = model
        tokenizer = PairTokenizer(ready.folder / "tokenizer.json", ready.card.max_length)
        return float(model(feed(known_ports(model.inputs), tokenizer.encode(query, [passage])))[0].reshape(-1)[0])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny cross-encoder as ``save_pretrained`` writes it."""
    return write_folder(tmp_path / "tiny-reranker")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    with HubServer("tests/tiny-reranker", folder) as server:
        yield server


@pytest.fixture
def command(cache: Path, tmp_path: Path) -> Iterator[Command]:
    """Start ``openvino-reranker pull`` in its own process."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, endpoint: str = "", **environment: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "OPENVINO_RERANKER"))}
        clean |= {"PYTHONPATH": str(ROOT / ".links"), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": endpoint}
        process = subprocess.Popen(
            [sys.executable, "-m", "openvino_reranker", "pull", "--cache", str(cache), *arguments],
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not [each for each in set(threading.enumerate()) - before if not each.daemon]
