"""The Python client against the running service, and against what is not there."""

import asyncio
import math
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.client import (
    AsyncReranker,
    DeadlineExceeded,
    InvalidArgument,
    InvalidRequest,
    Overloaded,
    Reranker,
    TooLarge,
    Unavailable,
    rerank_or_keep_order,
)
from openvino_reranker.client.connection import Connection
from openvino_reranker.client.encoding import Document
from openvino_reranker.tests.processes import Program, Service, clean_environment

pytestmark = pytest.mark.usefixtures("own_connections")

DOCUMENTS: list[Document] = [
    "The sky is blue.",
    "Bread is baked dough.",
    {"id": "note", "text": "Dough rises with yeast."},
]


@pytest.fixture
def own_connections(monkeypatch: pytest.MonkeyPatch) -> dict[Path, Connection]:
    """No connection that another test's reranker keeps for this process is used here."""
    connections: dict[Path, Connection] = {}
    monkeypatch.setattr(Connection, "_shared", connections)
    return connections


def test_a_ranking_has_hits_in_order_and_says_what_served(service: Service) -> None:
    with Reranker(service.socket) as reranker:
        ranking = reranker.rerank("what is bread?", DOCUMENTS)
        best = reranker.rerank("what is bread?", DOCUMENTS, top_k=1)
    assert ranking.order[0] == 1
    assert sorted(ranking.order) == [0, 1, 2]
    assert [hit.score for hit in ranking.hits] == sorted((hit.score for hit in ranking.hits), reverse=True)
    assert {hit.index: hit.id for hit in ranking.hits} == {0: None, 1: None, 2: "note"}
    assert all(0 <= hit.relevance_score <= 1 for hit in ranking.hits)
    assert (ranking.device, ranking.npu_busy_delta_us) == ("CPU", None)
    assert ranking.timings_ms.total >= ranking.timings_ms.queue
    assert best.hits == ranking.hits[:1]


def test_one_reranker_serves_many_threads_over_one_connection(
    service: Service, own_connections: dict[Path, Connection]
) -> None:
    with Reranker(service.socket) as reranker, ThreadPoolExecutor(16) as pool:
        asked = [
            pool.submit(reranker.rerank, f"number {number}?", [f"number {number}", f"letter {number}"])
            for number in range(60)
        ]
        assert [each.result().order[0] for each in asked] == [0] * 60
        assert list(own_connections) == [service.socket]


def test_rerankers_of_a_process_share_a_connection_until_the_last_closes(
    service: Service, own_connections: dict[Path, Connection]
) -> None:
    first, second = Reranker(service.socket), Reranker(service.socket)
    first.rerank("q", ["d"])
    second.rerank("q", ["d"])
    connection = own_connections[service.socket]
    first.close()
    assert second.rerank("q", ["d"]).order == [0]
    assert connection.usable
    second.close()
    assert not connection.usable
    assert second.rerank("q", ["d"]).order == [0]  # it connects anew
    second.close()


FORK = """
import os, sys, warnings
from openvino_reranker.client import Reranker
warnings.simplefilter("ignore")  # Python warns of forking with threads; that is what is tried here
reranker = Reranker(sys.argv[1])
assert reranker.rerank("q", ["d"]).order == [0]
child = os.fork()
if child == 0:
    ok = all(reranker.rerank("what is bread?", ["sky", "bread"]).order == [1, 0] for _ in range(3))
    os._exit(0 if ok else 1)
for _ in range(3):
    assert reranker.rerank("what is bread?", ["bread", "sky"]).order == [0, 1]
assert os.waitpid(child, 0)[1] == 0
reranker.close()
print("both served")
"""


def test_a_forked_child_and_its_parent_both_go_on(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(service.socket)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "both served\n", done.stderr


def rank_in_a_pool(socket_path: str) -> list[int]:
    with Reranker(socket_path) as reranker:
        return reranker.rerank("what is bread?", ["sky", "bread"]).order


def test_it_works_in_a_process_pool(service: Service) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(rank_in_a_pool, [str(service.socket)] * 4) == [[1, 0]] * 4


def test_a_program_that_forgets_to_close_still_ends(service: Service) -> None:
    script = "import sys; from openvino_reranker.client import Reranker; Reranker(sys.argv[1]).rerank('q', ['d'])"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, str(service.socket)], env=clean_environment(), timeout=30, check=False
    )
    assert done.returncode == 0
    assert time.monotonic() - started < 10


def test_async_requests_run_side_by_side(service: Service) -> None:
    async def ask() -> Sequence[list[int]]:
        async with AsyncReranker(service.socket) as reranker:
            asked = [reranker.rerank("what is bread?", ["sky", f"bread {number}"]) for number in range(20)]
            return [ranking.order for ranking in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [[1, 0]] * 20


def test_a_cancelled_task_cancels_its_request(service: Service) -> None:
    before = service.status().counters["cancelled_requests"]

    async def ask() -> None:
        async with AsyncReranker(service.socket) as reranker:
            documents = [f"document {number} " * 40 for number in range(300)]
            task = asyncio.create_task(reranker.rerank("q", documents))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while (await reranker.status()).counters["cancelled_requests"] == before:
                await asyncio.sleep(0.01)
            assert (await reranker.status()).queue.pairs == 0

    asyncio.run(asyncio.wait_for(ask(), 30))


def test_a_deadline_is_an_error_in_time(service: Service) -> None:
    documents = [f"document {number} " * 60 for number in range(500)]
    started = time.monotonic()
    with Reranker(service.socket) as reranker, pytest.raises(DeadlineExceeded, match="documents were scored"):
        reranker.rerank("q", documents, timeout=0.3)
    assert time.monotonic() - started < 2
    while service.status().queue.requests:
        pass


@pytest.mark.parametrize(
    ("query", "documents", "options", "kind", "part"),
    [
        ("", ["d"], {}, InvalidRequest, "query is empty"),
        (None, ["d"], {}, InvalidRequest, "query must be a string, not null"),
        ("q", [], {}, InvalidRequest, "documents is empty"),
        ("q", "text", {}, InvalidRequest, "documents must be a list"),
        ("q", [b"bytes"], {}, InvalidRequest, r"documents\[0\] must be a string"),
        ("q", ["\ud800"], {}, InvalidRequest, r"documents\[0\] is not valid Unicode"),
        ("\udfff", ["d"], {}, InvalidRequest, "query is not valid Unicode"),
        ("q", ["d"], {"top_k": -1}, InvalidRequest, "top_k is -1"),
        ("q", ["d"], {"timeout": 0}, InvalidRequest, "timeout"),
        ("q", ["d"] * 1001, {}, TooLarge, "the limit is 1000"),
        ("q", ["d" * (1 << 21)], {}, TooLarge, "1048576"),
        ("w " * 500, ["d"], {}, InvalidRequest, "query has 500 tokens"),
    ],
)
def test_wrong_requests(
    service: Service, query: str, documents: list[str], options: dict[str, Any], kind: type[Exception], part: str
) -> None:
    with Reranker(service.socket) as reranker, pytest.raises(kind, match=part):
        reranker.rerank(query, documents, **options)


def test_all_the_time_in_the_world_is_ten_minutes(service: Service) -> None:
    async def ask() -> list[int]:
        async with AsyncReranker(service.socket) as reranker:
            assert (await reranker.status(timeout=math.inf)).ready
            return (await reranker.rerank("what is bread?", DOCUMENTS, timeout=math.inf)).order

    with Reranker(service.socket) as reranker:
        assert reranker.status(timeout=math.inf).ready
        found = rerank_or_keep_order("what is bread?", DOCUMENTS, timeout=math.inf, reranker=reranker)
    assert found.rerank_error is None
    assert found.order == asyncio.run(ask())


def test_a_missing_socket_is_an_immediate_error(runtime: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match="openvino-reranker serve"):
        Reranker(runtime / "requests.sock").rerank("q", ["d"])
    assert time.monotonic() - started < 1


def test_a_dead_brokers_socket_is_an_immediate_error(runtime: Path) -> None:
    path = runtime / "requests.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(Unavailable, match="nothing is listening"):
        Reranker(path).rerank("q", ["d"])


def test_a_file_that_is_no_socket_and_a_path_too_long(runtime: Path) -> None:
    (runtime / "requests.sock").touch()
    with pytest.raises(Unavailable, match="not a socket"):
        Reranker(runtime / "requests.sock").rerank("q", ["d"])
    with pytest.raises(Unavailable, match="longer than 107 bytes"):
        Reranker(runtime / ("x" * 120)).rerank("q", ["d"])


FORBIDDEN = """
import os, sys
from openvino_reranker.client import Reranker, Unavailable
os.setgid(65534); os.setuid(65534)
try:
    Reranker(sys.argv[1]).rerank("q", ["d"])
except Unavailable as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_forbidden_socket_is_an_immediate_error(runtime: Path) -> None:
    path = runtime / "requests.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o660)
        for mode, part in ((0o755, "no permission to connect"), (0o700, "no permission to reach")):
            runtime.chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", FORBIDDEN, str(path)],
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert part in done.stdout, done.stderr


def test_with_a_broker_but_no_worker_it_waits_until_the_deadline(runtime: Path) -> None:
    with Program("broker", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as broker:
        broker.wait_for_line("listening on")
        with Reranker(runtime / "requests.sock") as reranker:
            started = time.monotonic()
            with pytest.raises(Unavailable, match="no worker is ready"):
                reranker.rerank("q", ["d"], timeout=0.5)
            assert 0.4 < time.monotonic() - started < 2
            assert reranker.status().ready is False


def test_falling_back_keeps_the_given_order_and_says_why(runtime: Path) -> None:
    kept = rerank_or_keep_order("q", ["a", "b", "c"], top_k=2, reranker=Reranker(runtime / "requests.sock"))
    assert kept.documents == ["a", "b"]
    assert kept.order == [0, 1]
    assert kept.ranking is None
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith("unavailable: ")


def test_no_falling_back_where_the_service_answers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENVINO_RERANKER_RUNTIME_DIR", str(service.runtime))
    found = rerank_or_keep_order("what is bread?", DOCUMENTS, top_k=2)
    connection = Connection._shared[service.socket]
    assert rerank_or_keep_order("what is bread?", DOCUMENTS, top_k=2).order == found.order
    assert Connection._shared[service.socket] is connection  # kept between calls
    assert found.rerank_error is None
    assert found.ranking is not None
    assert found.documents == [DOCUMENTS[1], DOCUMENTS[2]]
    assert found.order == [1, 2]
    assert rerank_or_keep_order("q", []).documents == []


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(Overloaded("full", 2500)))
    assert isinstance(error, Overloaded)
    assert (error.message, error.retry_after_ms, error.status, error.code) == ("full", 2500, 429, "overloaded")


def test_the_broker_comes_back_and_what_was_waiting_is_asked_again(runtime: Path) -> None:
    environment = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with Reranker(runtime / "requests.sock") as reranker, ThreadPoolExecutor(1) as pool:
        with Program("broker", **environment) as first:
            first.wait_for_line("listening on")
            epoch = reranker.status().epoch
            asked = pool.submit(reranker.rerank, "q", ["d"], None, 20.0)
            while reranker.status().queue.requests == 0:
                time.sleep(0.01)
            first.process.kill()
            first.process.wait()
        with Program("broker", **environment) as second:
            second.wait_for_line("listening on")
            deadline = time.monotonic() + 10
            while reranker.status().queue.requests == 0:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert reranker.status().epoch != epoch
            second.process.terminate()
            second.wait_for_line("stopping")
            second.stop()  # the second signal ends the drain
        with pytest.raises(Unavailable, match="stopped before this request was done"):
            asked.result()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"top_k": -1}, "top_k is -1"),
        ({"documents": "a bare string"}, "documents must be a list"),
        ({"documents": ""}, "documents must be a list"),
        ({"documents": {"text": "one"}}, "documents must be a list"),
        ({"documents": ["a", 5]}, r"documents\[1\] must be a string"),
        ({"query": None}, "query must be a string"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_a_wrong_call_is_no_reason_to_keep_the_order(runtime: Path, arguments: dict[str, Any], part: str) -> None:
    call: dict[str, Any] = {"query": "q", "documents": ["a", "b"]} | arguments
    with pytest.raises(InvalidArgument, match=part):
        rerank_or_keep_order(**call, reranker=Reranker(runtime / "requests.sock"))


@pytest.mark.parametrize("query", ["", "\ud800", "x" * 100_000])
def test_texts_that_cannot_be_ranked_keep_their_order(runtime: Path, query: str) -> None:
    kept = rerank_or_keep_order(query, ["a", "b"], reranker=Reranker(runtime / "requests.sock"))
    assert kept.documents == ["a", "b"]
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith(("invalid_request: ", "too_large: "))
