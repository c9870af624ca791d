"""HAProxy with the file that is shipped, in front of nodes on ports of a test's own."""

import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from openvino_reranker.tests.processes import ROOT

SHIPPED = ROOT / "deploy" / "haproxy.cfg"
#: What ``tune.bufsize`` is there, bytes.
BUFFER = 1 << 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class HAProxy:
    """Runs while entered; ``url`` leads to the nodes."""

    def __init__(self, binary: str, folder: Path, nodes: list[str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "haproxy.log"
        self._command = [binary, "-db", "-f", str(SHIPPED)]
        named = {f"NODE{number}": node for number, node in enumerate(nodes, 1)}
        self._environment = os.environ | named | {"BIND": f"127.0.0.1:{self.port}"}

    @property
    def log(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> "HAProxy":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
