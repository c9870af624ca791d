"""HAProxy with the file that is shipped, in front of nodes on ports of a test's own."""

import re
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


def configuration(port: int, nodes: list[str], **instead: str) -> str:
    """The shipped file with this port, these nodes, and other limits of time (``timeout_server="1s"``)."""
    text = SHIPPED.read_text()
    text = re.sub(r"bind 127\.0\.0\.1:18800", f"bind 127.0.0.1:{port}", text)
    text = re.sub(r"(?m)^ +server node1 .*$", "", text)
    for name, value in instead.items():
        words = name.replace("_", " ")
        text, count = re.subn(rf"(?m)^( +{words}) +\S+", rf"\1 {value}", text)
        assert count == 1, name
    return text + "".join(f"    server node{number} {node}\n" for number, node in enumerate(nodes, 1))


class HAProxy:
    """Runs while entered; ``url`` leads to the nodes."""

    def __init__(self, binary: str, folder: Path, nodes: list[str], **instead: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        path = folder / "haproxy.cfg"
        path.write_text(configuration(self.port, nodes, **instead))
        self._log = folder / "haproxy.log"
        self._command = [binary, "-db", "-f", str(path)]

    @property
    def log(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> "HAProxy":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
