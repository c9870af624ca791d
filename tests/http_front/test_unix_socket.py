"""HTTP over a Unix socket, beside TCP: the same, for its owner and group, and gone with the front."""

import socket
from pathlib import Path

from openvino_reranker.tests.processes import Program


def test_it_is_served_beside_tcp_and_gone_with_the_front(runtime: Path) -> None:
    path = runtime / "http.sock"
    with Program("http", "--port", "0", "--uds", str(path), OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as front:
        front.wait_for_line(f"and {path}")
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(str(path))
            made.sendall(b"GET /healthz HTTP/1.1\r\nHost: any\r\n\r\n")
            assert made.recv(1000).startswith(b"HTTP/1.1 200 ")
        second = Program("http", "--port", "0", "--uds", str(path), OPENVINO_RERANKER_RUNTIME_DIR=str(runtime))
        second.wait_for_line(f"is listening on {path}; choose another with --uds")
        assert second.process.wait(20) == 1
        second.stop()
    assert not path.exists()
