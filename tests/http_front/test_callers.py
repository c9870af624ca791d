"""Whom the front names to the broker as its caller, and that programs share the device fairly."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.http_front import peer_processes
from openvino_reranker.http_front.callers import Charge, Connection
from openvino_reranker.http_front.peer_processes import MOST_LOOKUPS, Owner, PeerProcesses
from openvino_reranker.tests.http_front import asking
from openvino_reranker.tests.processes import Program, clean_environment
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

_BODY = json.dumps({"query": "q", "documents": ["d"]}).encode()
REQUEST = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
ASK_TWICE = """
import socket, sys
address = (lambda host, _, port: (host, int(port)) if port else host)(*sys.argv[1].partition(":"))
made = [socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) for _ in range(2)]
for each in made:
    each.connect(address)
    each.sendall(bytes.fromhex(sys.argv[2]))
sys.stdin.read()
"""


def callers(runtime: Path, requests: int) -> int:
    """Wait until the broker, which has no worker, holds so many requests; return of how many callers."""
    with Reranker(runtime / "requests.sock") as reranker:
        while (queue := reranker.status().queue).requests < requests:
            pass  # the test's own time limit ends this
    return queue.callers


@contextmanager
def started(*command: object, stdout: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python program that ends with its standard input."""
    program = subprocess.Popen(
        [sys.executable, *map(str, command)], env=clean_environment(), stdin=subprocess.PIPE, stdout=stdout, text=True
    )
    try:
        yield program
    finally:
        program.communicate()


def test_a_process_is_a_caller_over_tcp_and_over_a_unix_socket(runtime: Path) -> None:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime), "OPENVINO_RERANKER_TIMEOUT": "10"}
    path = runtime / "http.sock"
    with ExitStack() as stack:
        stack.enter_context(Program("broker", **settings)).wait_for_line("listening on")
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen()
        command = [sys.executable, "-m", "openvino_reranker", "http", "--fd", str(listening.fileno())]
        unix_front = subprocess.Popen(command, env=clean_environment(**settings), pass_fds=[listening.fileno()])
        stack.callback(unix_front.wait, 20)
        stack.callback(unix_front.terminate)
        tcp_front = stack.enter_context(Program("http", "--port", "0", **settings))
        port = tcp_front.wait_for_line("listening on").rsplit(" ", 1)[1]
        for address in (f"127.0.0.1:{port}", path):
            for _ in range(2):
                stack.enter_context(started("-c", ASK_TWICE, address, REQUEST.hex()))
        assert callers(runtime, 8) == 4


def test_sixteen_connections_of_a_program_have_no_more_than_the_one_of_another(runtime: Path) -> None:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with ExitStack() as stack:
        stack.enter_context(Program("broker", **settings)).wait_for_line("listening on")
        worker = TinyWorker(runtime / "workers.sock", seconds_per_token=2e-4)  # the device, not the machine, is slow
        stack.callback(worker.stop)
        front = stack.enter_context(Program("http", "--port", "0", **settings))
        port = front.wait_for_line("listening on").rsplit(" ", 1)[1]
        names = "name-{}"  # one for each connection: that gains nothing
        programs = [
            stack.enter_context(started(asking.__file__, port, *arguments, stdout=subprocess.PIPE))
            for arguments in ((16, names), (1,))
        ]
        with Reranker(runtime / "requests.sock") as reranker:
            while reranker.status().queue.callers < 2:
                time.sleep(0.02)  # the test's own time limit ends this

        def answered() -> list[int]:
            for program in programs:
                assert program.stdin is not None
                program.stdin.write("?\n")
                program.stdin.flush()
            return [int(program.stdout.readline()) for program in programs if program.stdout is not None]

        before = answered()
        shares = [0, 0]
        while sum(shares) < 20 * asking.DOCUMENTS:
            time.sleep(0.5)
            shares = [now - then for now, then in zip(answered(), before, strict=True)]
        assert 0.4 <= shares[1] / sum(shares) <= 0.6


class _Processes(PeerProcesses):
    """Says of every peer what the test says."""

    def __init__(self, owner: Owner | None) -> None:
        self._owner = owner

    async def find(self, family: int, peer: tuple[str, int], here: tuple[str, int]) -> Owner | None:
        return self._owner


def charges(owner: Owner | None, *names: str | None) -> list[Charge]:
    """Return what is charged for requests of one connection that name themselves so."""

    async def ask() -> list[Charge]:
        with socket.socket() as accepted:
            connection = Connection(accepted, ("127.0.0.1", 4711), ("127.0.0.1", 18818), _Processes(owner))
            return [await connection.charge(name) for name in names]

    return asyncio.run(ask())


def test_a_process_may_name_streams_of_its_own_share() -> None:
    assert charges(Owner(1000, 42), None, "alice", "bob", "", "a b", "x" * 65) == [
        Charge("1000:42"),
        Charge("1000:42", "alice"),
        Charge("1000:42", "bob"),
        *[Charge("1000:42")] * 3,
    ]


@pytest.mark.parametrize(
    ("owner", "caller"), [(Owner(1000, None), "http uid 1000"), (None, "http 127.0.0.1")], ids=["user", "address"]
)
def test_a_connection_of_a_shared_share_has_one_stream_whatever_it_calls_itself(
    owner: Owner | None, caller: str
) -> None:
    assert charges(owner, None, "alice", "bob") == [Charge(caller, "port 4711")] * 3
    assert charges(owner, "alice", None, "bob") == [Charge(caller, "name alice")] * 3


def test_the_process_at_the_other_end_is_found_and_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_processes, "_LOOKUP_S", 30.0)  # the bound on work is tried, not the one on time

    async def ask() -> None:
        processes = PeerProcesses()
        with ExitStack() as stack:
            stack.callback(processes.close)
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                listening = stack.enter_context(socket.socket(family))
                listening.bind((host, 0))
                listening.listen()
                here = listening.getsockname()[:2]
                made = stack.enter_context(socket.socket(family))
                made.connect(here)
                peer = made.getsockname()[:2]
                assert await processes.find(family, peer, here) == Owner(os.getuid(), os.getpid())
                assert await processes.find(family, (host, 1), here) is None
            found = await asyncio.gather(*(processes.find(family, peer, here) for _ in range(3 * MOST_LOOKUPS)))
            assert 2 * MOST_LOOKUPS <= found.count(None) < 3 * MOST_LOOKUPS

    asyncio.run(ask())


def test_without_a_descriptor_to_look_with_the_process_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted() -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    async def ask() -> Owner | None:
        processes = PeerProcesses()
        with ExitStack() as stack:
            stack.callback(processes.close)
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            made = stack.enter_context(socket.create_connection(listening.getsockname()))
            return await processes.find(socket.AF_INET, made.getsockname(), listening.getsockname())

    monkeypatch.setattr(peer_processes, "_newest_first", exhausted)
    assert asyncio.run(ask()) == Owner(os.getuid(), None)
