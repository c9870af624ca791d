"""A first request starts what nobody had started; a descriptor that is not what it should be is named."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.daemon.activation import UNIX, WrongDescriptor, adopt_listening_socket, adopt_sockets, only_one
from openvino_reranker.tests.processes import RuntimeFolder, clean_environment
from openvino_reranker.tests.systemd.manager import NotifySocket, start_with_sockets, unix_listener
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

StartWorker = Callable[..., TinyWorker]


class Activated:
    """``systemd-socket-activate`` in front of one of our commands, which it becomes at the first connection."""

    def __init__(self, tool: str, runtime: Path, listen: list[str], names: str, *command: str, **extra: str) -> None:
        environment = clean_environment(OPENVINO_RERANKER_RUNTIME_DIR=str(runtime), **extra)
        passed = [name for name in environment if name.startswith(("OPENVINO_RERANKER_", "PYTHON"))]
        passed += [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM") if name in environment]
        self.process = subprocess.Popen(
            [
                tool,
                *(f"--listen={each}" for each in listen),
                f"--fdname={names}",
                *(f"--setenv={name}={environment[name]}" for name in passed),
                *(sys.executable, "-m", "openvino_reranker", *command),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listening(len(listen))

    def _listening(self, count: int) -> None:
        assert self.process.stderr is not None
        for _ in range(count):
            assert "Listening on" in self.process.stderr.readline()

    def is_our_program(self) -> bool:
        return b"openvino_reranker" in Path(f"/proc/{self.process.pid}/cmdline").read_bytes().split(b"\0")[2:3]

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log


Activate = Callable[..., Activated]


@pytest.fixture
def activate(socket_activate: str, runtime: Path) -> Iterator[Activate]:
    started: list[Activated] = []

    def start(listen: list[str], names: str, *command: str, **extra: str) -> Activated:
        started.append(Activated(socket_activate, runtime, listen, names, *command, **extra))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_first_request_starts_the_broker_and_waits_for_the_worker(
    activate: Activate, runtime: Path, start_worker: StartWorker
) -> None:
    broker = activate([f"{runtime}/requests.sock", f"{runtime}/workers.sock"], "requests:workers", "broker")
    assert not broker.is_our_program()
    inode = (runtime / "requests.sock").stat().st_ino
    late = threading.Timer(1.0, start_worker)  # the model is loading
    late.start()
    with Reranker(runtime / "requests.sock") as reranker:
        ranking = reranker.rerank("q", ["a", "ccc", "bb"], timeout=15)
        assert [hit.index for hit in ranking.hits] == [1, 2, 0]
        assert reranker.status().pid == broker.process.pid  # it became our program
    late.join()
    status, log = broker.stop()
    assert status == 0, log
    assert (runtime / "requests.sock").stat().st_ino == inode  # whoever made the socket removes it


def test_a_worker_alone_starts_the_broker_too(activate: Activate, runtime: Path, start_worker: StartWorker) -> None:
    broker = activate([f"{runtime}/requests.sock", f"{runtime}/workers.sock"], "requests:workers", "broker")
    start_worker()
    with Reranker(runtime / "requests.sock") as reranker:
        assert len(reranker.rerank("q", ["a"], timeout=10).hits) == 1
        assert reranker.status().pid == broker.process.pid


def test_with_one_descriptor_the_broker_makes_the_other_socket(
    activate: Activate, runtime: Path, start_worker: StartWorker
) -> None:
    activate([f"{runtime}/requests.sock"], "requests", "broker")
    with Reranker(runtime / "requests.sock") as reranker:
        assert not reranker.status().ready
        assert (runtime / "workers.sock").stat().st_mode & 0o777 == 0o600
        start_worker()
        assert len(reranker.rerank("q", ["a"], timeout=10).hits) == 1


def test_first_http_request_starts_front_and_broker(
    activate: Activate, runtime: Path, start_worker: StartWorker
) -> None:
    broker = activate(
        [f"{runtime}/requests.sock", f"{runtime}/workers.sock"], "requests:workers", "broker", "--verbose"
    )
    port, unix = free_port(), runtime / "http.sock"
    front = activate([f"127.0.0.1:{port}", str(unix)], "http:http", "http", "--verbose")
    late = threading.Timer(0.5, start_worker)
    late.start()
    body = {"query": "q", "documents": ["a", "secret words", "bb"]}
    answer = httpx.post(f"http://127.0.0.1:{port}/rerank", json=body, timeout=20)
    assert answer.status_code == 200
    assert [each["index"] for each in answer.json()["results"]] == [1, 2, 0]
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(unix))) as client:
        assert client.post("http://here/rerank", json=body).status_code == 200
    late.join()
    front_status, front_log = front.stop()
    broker_status, broker_log = broker.stop()
    assert (front_status, broker_status) == (0, 0), front_log + broker_log
    # One id joins the lines of the front and of the broker, and of its batch; no text of a document is in them.
    request_id = answer.headers["x-request-id"]
    assert f"{request_id} 200" in front_log
    assert any(f"request {request_id}" in line and "3 documents" in line for line in broker_log.splitlines())
    assert any("batch" in line and request_id in line for line in broker_log.splitlines())
    assert "secret" not in front_log + broker_log


def run_with(sockets: dict[str, socket.socket], component: str, runtime: Path, **extra: str) -> tuple[int, str]:
    command = ("-m", "openvino_reranker", component, "--runtime-dir", str(runtime))
    process = start_with_sockets(sockets, *command, stderr=subprocess.PIPE, environment=extra)
    _, log = process.communicate(timeout=20)
    return process.returncode, log.decode()


def test_wrong_descriptor_is_named_and_nobody_starts(runtime: Path, notify_socket: NotifySocket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        status, log = run_with({"requests": tcp}, "broker", runtime, **notify_socket.environment())
        assert status == 1
        assert "descriptor 3 (requests) is of family AF_INET; it must be of AF_UNIX" in log
        status, log = run_with({"openvino-reranker.socket": tcp}, "http", runtime, **notify_socket.environment())
        assert status == 1
        assert "'openvino-reranker.socket', which is unknown here" in log
    assert "READY=1" not in notify_socket.said


def test_adopting_a_socket_says_what_a_descriptor_is() -> None:
    with RuntimeFolder() as folder, (folder / "file").open("w") as file:
        with pytest.raises(WrongDescriptor, match="is not a socket"):
            adopt_listening_socket(os.dup(file.fileno()), "requests", UNIX)
        one, other = socket.socketpair()
        with one, other, pytest.raises(WrongDescriptor, match="a connection, not a listening socket"):
            adopt_listening_socket(os.dup(one.fileno()), "requests", UNIX)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(str(folder / "datagrams"))
            with pytest.raises(WrongDescriptor, match="not a stream socket"):
                adopt_listening_socket(os.dup(datagrams.fileno()), "requests", UNIX)
        with socket.socket(socket.AF_UNIX) as nameless:
            nameless.bind(f"\0{folder}")
            nameless.listen()
            with pytest.raises(WrongDescriptor, match="no path"):
                adopt_listening_socket(os.dup(nameless.fileno()), "requests", UNIX)
        with (
            unix_listener(folder / "good") as good,
            adopt_listening_socket(os.dup(good.fileno()), "requests", UNIX) as found,
        ):
            assert found.getsockname() == str(folder / "good")


def test_two_sockets_of_one_name_are_too_many_for_the_broker(runtime: Path) -> None:
    with unix_listener(runtime / "a") as one, unix_listener(runtime / "b") as other:
        with pytest.raises(WrongDescriptor, match="2 descriptors are named 'requests'"):
            only_one({"requests": [one, other]})
        assert only_one({"requests": [one], "workers": [other]}) == {"requests": one, "workers": other}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"LISTEN_FDS": "many"}, "LISTEN_FDS is 'many'"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "requests:workers"}, "names 2 descriptors"),
        ({"LISTEN_FDS": "1000", "LISTEN_FDNAMES": ":".join(["requests"] * 1000)}, "is not open"),
    ],
)
def test_variables_that_contradict_each_other(variables: dict[str, str], told: str) -> None:
    code = (
        "import os, sys\n"
        "from openvino_reranker.daemon.activation import passed_descriptors\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "try:\n    passed_descriptors()\n"
        "except Exception as error:\n    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=clean_environment(**variables), capture_output=True)
    assert ended.stderr.decode().startswith("WrongDescriptor: ")
    assert told in ended.stderr.decode()


def test_descriptors_of_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "requests:workers", "KEPT": "1"}
    assert adopt_sockets({"requests": UNIX}, environ) == {}
    assert environ == {"KEPT": "1"}  # and no child of ours will think otherwise
