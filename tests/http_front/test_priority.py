"""A request's class travels from every kind of caller to the broker."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from openvino_reranker.bench.target import Caller, Target
from openvino_reranker.client import AsyncReranker, InvalidRequest, Reranker
from openvino_reranker.protocol.client_messages import Refusal, Rerank
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.processes import Program, RuntimeFolder

GOOD = {"query": "q", "documents": ["d"]}


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[str, Path, FakeBroker]]:
    """A front and a broker that only listens."""
    with (
        RuntimeFolder() as runtime,
        FakeBroker(runtime / "requests.sock") as broker,
        Program("http", "--port", "0", "--timeout", "1", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as program,
    ):
        port = program.wait_for_line("listening on").rsplit(" ", 1)[1]
        yield f"http://127.0.0.1:{port}", runtime / "requests.sock", broker


def priority_of(broker: FakeBroker, ask: Callable[[], object]) -> str:
    """Return the class of the request that the broker receives from ``ask``."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask)
        while not isinstance(message := broker.receive(), Rerank):
            pass
        broker.answer(Refusal(message.id, "failed", "only the class was asked for"))
    return message.priority


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "interactive"),
        ({"priority": None}, "interactive"),
        ({"priority": "interactive"}, "interactive"),
        ({"priority": "bulk"}, "bulk"),
        ({"priority": 0}, "interactive"),  # Cohere's: 0 is the most urgent
        ({"priority": 999}, "bulk"),
    ],
)
def test_over_http(front: tuple[str, Path, FakeBroker], given: dict[str, Any], expected: str) -> None:
    url, _, broker = front
    assert priority_of(broker, lambda: httpx.post(url + "/v1/rerank", json=GOOD | given)) == expected


@pytest.mark.parametrize("value", ["urgent", "BULK ", -1, 1.5, True, [], {}])
def test_another_class_is_refused_and_the_choices_are_named(front: tuple[str, Path, FakeBroker], value: object) -> None:
    url, _, _ = front
    answer = httpx.post(url + "/rerank", json=GOOD | {"priority": value})
    assert answer.status_code == 400
    assert "priority must be 'interactive' or 'bulk'" in answer.json()["message"]


def test_of_the_bench_over_http(front: tuple[str, Path, FakeBroker]) -> None:
    url, _, broker = front
    assert priority_of(broker, lambda: Caller(Target(url=url), "bulk").ask("q", ["d"])) == "bulk"


def test_of_one_call_in_python(front: tuple[str, Path, FakeBroker]) -> None:
    _, socket, broker = front

    async def ask() -> None:
        async with AsyncReranker(socket) as reranker:
            await reranker.rerank("q", ["d"], timeout=0.1, priority="bulk")

    with Reranker(socket, priority="bulk") as bulk, Reranker(socket) as usual:
        assert priority_of(broker, lambda: bulk.rerank("q", ["d"], timeout=0.1)) == "bulk"
        assert priority_of(broker, lambda: bulk.rerank("q", ["d"], timeout=0.1, priority="interactive")) == (
            "interactive"
        )
        assert priority_of(broker, lambda: usual.rerank("q", ["d"], timeout=0.1, priority="bulk")) == "bulk"
        assert priority_of(broker, lambda: asyncio.run(ask())) == "bulk"
        with pytest.raises(InvalidRequest, match="interactive or bulk"):
            usual.rerank("q", ["d"], priority="urgent")  # type: ignore[arg-type]
