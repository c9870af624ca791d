"""What the client does to the process it is in: descriptors, forks, memory."""

import asyncio
import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from openvino_reranker.client import AsyncReranker, InvalidRequest, Reranker, rerank_or_keep_order
from openvino_reranker.client.encoding import Document
from openvino_reranker.tests.processes import Service, clean_environment
from openvino_reranker.tests.systemd.manager import unix_listener


def run_script(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FEW_DESCRIPTORS = """
import os, resource, sys
from openvino_reranker.client import Reranker, rerank_or_keep_order
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
reranker = Reranker(sys.argv[1])
for _ in range(int(sys.argv[2])):
    os.close(held.pop())
print(rerank_or_keep_order("q", ["d"], timeout=0.2, reranker=reranker).rerank_error)
for descriptor in held:
    os.close(descriptor)
print(rerank_or_keep_order("q", ["d"], timeout=0.2, reranker=reranker).rerank_error)
"""


@pytest.mark.parametrize("free", range(8))
def test_without_descriptors_the_given_order_is_kept_and_the_process_lives(runtime: Path, free: int) -> None:
    with unix_listener(runtime / "requests.sock"):
        done = run_script(FEW_DESCRIPTORS, runtime / "requests.sock", free)
    assert done.returncode == 0, done.stderr
    without, again = done.stdout.splitlines()
    assert without.startswith("unavailable: ")
    assert "Too many open files" in without
    assert again.startswith("deadline_exceeded: ")  # it has connected: somebody listens, and does not answer


FORK_WHILE_CONNECTING = """
import os, signal, sys, threading, warnings
from openvino_reranker.client import Reranker, Unavailable, connection
warnings.simplefilter("ignore")  # Python warns of forking with threads; that is what is tried here
inside, go_on = threading.Event(), threading.Event()
check = connection.check_socket
def slowly(path):
    inside.set()
    go_on.wait()
    check(path)
connection.check_socket = slowly
def ask():
    try:
        reranker.rerank("q", ["d"])
    except Unavailable:
        return True
reranker = Reranker(sys.argv[1])
thread = threading.Thread(target=ask)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    go_on.set()
    os._exit(0 if ask() else 1)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
print("child", status)
"""


def test_a_child_forked_while_a_thread_connects_can_connect_too(runtime: Path) -> None:
    done = run_script(FORK_WHILE_CONNECTING, runtime / "requests.sock")
    assert done.stdout == "child 0\n", done.stderr


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Texts(list[Document]):
    """Documents that can be told to be gone."""


def wait_until_gone(texts: "weakref.ref[Texts]") -> None:
    deadline = time.monotonic() + 5
    while texts() is not None:  # the connection's thread may be about to let go
        assert time.monotonic() < deadline, gc.get_referrers(texts())
        time.sleep(0.01)


@pytest.mark.usefixtures("without_collector")
def test_a_refused_request_leaves_no_texts_behind(service: Service) -> None:
    too_long = "w " * 500

    def refused() -> "weakref.ref[Texts]":
        documents = Texts("d")
        kept = rerank_or_keep_order(too_long, documents, reranker=reranker)
        assert "500 tokens" in (kept.rerank_error or "")
        return weakref.ref(documents)

    async def refused_too() -> "weakref.ref[Texts]":
        documents = Texts("d")
        async with AsyncReranker(service.socket) as reranker:
            with pytest.raises(InvalidRequest, match="500 tokens"):
                await reranker.rerank(too_long, documents)
        return weakref.ref(documents)

    with Reranker(service.socket) as reranker:
        wait_until_gone(refused())
    wait_until_gone(asyncio.run(refused_too()))
