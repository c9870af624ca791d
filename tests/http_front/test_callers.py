"""Whom the front names to the broker as its caller, for fair turns."""

import json
import socket
import subprocess
import sys
from pathlib import Path

from openvino_reranker.client import Reranker
from openvino_reranker.tests.processes import Program, clean_environment

_BODY = json.dumps({"query": "q", "documents": ["d"]}).encode()
REQUEST = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
ASK_TWICE = """
import socket, sys
made = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for each in made:
    each.connect(sys.argv[1])
    each.sendall(bytes.fromhex(sys.argv[2]))
sys.stdin.read()
"""


def callers(runtime: Path, requests: int) -> int:
    """Wait until the broker, which has no worker, holds so many requests; return of how many callers."""
    with Reranker(runtime / "requests.sock") as reranker:
        while (queue := reranker.status().queue).requests < requests:
            pass  # the test's own time limit ends this
    return queue.callers


def test_a_tcp_connection_is_a_caller_whatever_it_says_of_itself(runtime: Path) -> None:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime), "OPENVINO_RERANKER_TIMEOUT": "5"}
    with Program("broker", **settings) as broker, Program("http", "--port", "0", **settings) as front:
        broker.wait_for_line("listening on")
        port = int(front.wait_for_line("listening on").rsplit(" ", 1)[1])
        made = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for each in made:
            each.sendall(REQUEST)
        assert callers(runtime, 2) == 2
        for each in made:
            each.close()


def test_a_process_on_the_unix_socket_is_a_caller(runtime: Path) -> None:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime), "OPENVINO_RERANKER_TIMEOUT": "5"}
    with Program("broker", **settings) as broker, socket.socket(socket.AF_UNIX) as listening:
        broker.wait_for_line("listening on")
        listening.bind(str(runtime / "http.sock"))
        listening.listen()
        command = [sys.executable, "-m", "openvino_reranker", "http", "--fd", str(listening.fileno())]
        front = subprocess.Popen(command, env=clean_environment(**settings), pass_fds=[listening.fileno()])
        asking = [
            subprocess.Popen(
                [sys.executable, "-c", ASK_TWICE, str(runtime / "http.sock"), REQUEST.hex()], stdin=subprocess.PIPE
            )
            for _ in range(2)
        ]
        try:
            assert callers(runtime, 4) == 2
        finally:
            for each in asking:
                each.communicate()
            front.terminate()
            assert front.wait(20) == 0
