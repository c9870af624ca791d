"""What all tests share: the packaged model, made ready once, and one service that serves it."""

import ctypes
import io
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from openvino_reranker.cli.main import main
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree
from openvino_reranker.tests.processes import ROOT, Run, RuntimeFolder, Service
from openvino_reranker.tests.systemd.manager import NotifySocket

# No deadline for an example: how long one takes says more about the machine than about the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

#: Where models are kept between runs.
MODELS = Path(os.environ.get("OPENVINO_RERANKER_TEST_CACHE") or ROOT / ".cache" / "models")


#: ``stack_t`` of sigaltstack(2) that says SS_DISABLE: pointer, flags, size.
_NO_STACK = struct.pack("PiP", 0, 2, 0)


@pytest.fixture(autouse=True)
def no_freed_signal_stack() -> None:
    """Signals are not handled on a stack that an OpenVINO plugin of an earlier test left, see ``shared_core``."""
    ctypes.CDLL(None).sigaltstack(_NO_STACK, None)


@pytest.fixture(scope="session")
def packaged() -> ReadyModel:
    """The packaged model, kept between runs."""
    return pull(MODELS, "packaged", "fp16", print)


@pytest.fixture(scope="session")
def packaged_int8() -> ReadyModel:
    """The packaged model quantised to int8, kept between runs."""
    return pull(MODELS, "packaged", "int8", print)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ReadyModel:
    """A model of two layers, for tests that are not about its scores."""
    made = tmp_path_factory.mktemp("tiny")
    return pull(made / "cache", str(tiny_bert.write_folder(made / "tiny-reranker")), "fp16", print)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command to its end in this process, with no settings but those given."""

    root = logging.getLogger()

    def command(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch:
            # A component sends its log to what standard error is now.
            patch.setattr(root, "handlers", root.handlers[:])
            patch.setattr(root, "level", root.level)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
            for name in [name for name in os.environ if name.startswith(("OPENVINO_RERANKER_", "HF_"))]:
                patch.delenv(name)
            # bench sets it for the processes it starts; it is not to outlast the command.
            for name, value in ({"PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", "")} | environment).items():
                patch.setenv(name, value)
            capfd.readouterr()
            try:
                status = main(arguments)
            except SystemExit as exit_of_argparse:
                status = int(exit_of_argparse.code or 0)
        output = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, status, output.out, output.err)

    return command


@pytest.fixture(scope="session")
def service(packaged: ReadyModel) -> Iterator[Service]:
    """One running service for all tests that leave it as they found it."""
    with (
        RuntimeFolder() as runtime,
        Service(runtime, packaged.folder, OPENVINO_RERANKER_SCORE_CACHE_MB="32") as running,  # as it comes
    ):
        yield running


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime folder of the test's own."""
    with RuntimeFolder() as path:
        yield path


@pytest.fixture
def notify_socket(runtime: Path) -> Iterator[NotifySocket]:
    """The service manager's end of sd_notify(3)."""
    with NotifySocket(str(runtime / "notify")) as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[SysfsTree]:
    """The kernel's view of a machine with an NPU, made of files."""
    tree = SysfsTree(tmp_path / "machine")
    yield tree
    tree.freeze()
