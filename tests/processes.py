"""Real processes for tests: the whole service, or one component of it, on sockets and ports of its own."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest
from openvino_reranker.client import Reranker, Unavailable
from openvino_reranker.protocol.status_messages import Status

ROOT = Path(__file__).parents[1]
INJECTION = Path(__file__).with_name("injection")
#: The fixture ``run``: a command run to its end in this process, ``run(*arguments, stdin="", **environment)``.
Run = Callable[..., "subprocess.CompletedProcess[str]"]


_INJECTING = {"PYTHONPATH": f"{INJECTION}:{ROOT / '.links'}"}


def injected(hang_once: Path | None = None, **timeouts: float) -> dict[str, str]:
    """Return the environment that shortens limits, or lets a device hang once, in the processes started with it."""
    environment = _INJECTING | {"ORR_TEST_TIMEOUTS": json.dumps(timeouts)}
    return environment | ({"ORR_TEST_HANG_ONCE": str(hang_once)} if hang_once is not None else {})


def with_constants(module: str, **constants: float) -> dict[str, str]:
    """Return the environment that gives constants of a module of ours other values in the processes started with it."""
    return _INJECTING | {"ORR_TEST_CONSTANTS": json.dumps({module: constants})}


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings of ours that a person may have, and without a score cache.

    A test that asks the same again and again means the device to run it again and again.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENVINO_RERANKER_", "HF_"))}
    ours = {
        "PYTHONPATH": str(ROOT / ".links"),
        "PYTHONUNBUFFERED": "1",
        "OPENVINO_RERANKER_SCORE_CACHE_MB": "0",
        "OPENVINO_RERANKER_INFERENCE_PRECISION": "f32",  # on some CPUs the default is bf16
    }
    return kept | ours | extra


def tool(name: str, package: str) -> str:
    """Return the path of a tool of Debian's; without it the test is skipped, and fails where nothing may be (CI)."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        reason = f"{name} is missing; it is in the Debian package {package}"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def run_program(*arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
    """Run ``openvino-reranker`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "openvino_reranker", *arguments],
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class RuntimeFolder:
    """A short path for sockets (they hold 107 bytes), removed at the end."""

    def __enter__(self) -> Path:
        self._path = Path(tempfile.mkdtemp(prefix="orr-", dir="/tmp"))
        return self._path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class Program:
    """A running ``openvino-reranker COMMAND``, its output collected line by line."""

    module = "openvino_reranker"

    def __init__(self, *arguments: str, **extra: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, *arguments],
            env=clean_environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def wait_for_line(self, part: str, timeout: float = 60.0) -> str:
        """Return the next line that holds ``part``."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {part!r} within {timeout:g} s in:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"the program ended without a line with {part!r}:\n{self.output}")
            if part in line:
                return line

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send a signal if it still runs; return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)


@contextmanager
def broker(runtime: Path, **environment: str) -> Iterator[Program]:
    """A broker alone; killed when left, as nothing is left to drain for."""
    with Program("broker", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime), **environment) as program:
        program.wait_for_line("listening on")
        yield program
        program.process.kill()


class Service(Program):
    """``openvino-reranker serve`` on the CPU with a ready model, on a free port, ready when entered."""

    command = ("serve",)

    def __init__(self, runtime: Path, model: Path, *arguments: str, **extra: str) -> None:
        self.runtime = runtime
        self.socket = runtime / "requests.sock"
        self.settings = {
            "OPENVINO_RERANKER_RUNTIME_DIR": str(runtime),
            "OPENVINO_RERANKER_MODEL_DIR": str(model),
            "OPENVINO_RERANKER_DEVICE": "CPU",
            "OPENVINO_RERANKER_PORT": "0",
        } | extra
        super().__init__(*self.command, *arguments, **self.settings)
        self.url = ""

    def __enter__(self) -> "Service":
        try:
            self.url = self.wait_for_line("ready: http").split("ready: ")[1].split()[0]
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def post(self, body: Any, path: str = "/rerank", **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60, **options)

    def status(self) -> Status:
        with Reranker(self.socket) as reranker:
            return reranker.status()

    def wait_until_ready(self, timeout: float = 60.0) -> Status:
        deadline = time.monotonic() + timeout
        while True:
            try:
                status = self.status()
                if status.ready:
                    return status
            except Unavailable:
                pass
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)


class QuickService(Service):
    """The same with a watchdog of a second, and with a component taken as settled after a tenth of one."""

    module = "openvino_reranker.tests.end_to_end.quick_serve"
    command = (json.dumps({"watchdog": 1.0, "settled": 0.1}),)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
