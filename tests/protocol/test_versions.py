"""A broker of another version: whoever waits is told so."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openvino_reranker.client import Reranker, WrongVersion, rerank_or_keep_order
from openvino_reranker.protocol.client_messages import Hello, Refusal, Rerank, Scores, Served, Timings
from openvino_reranker.tests.client.fake_broker import FakeBroker


@pytest.fixture
def broker(runtime: Path) -> Iterator[FakeBroker]:
    with FakeBroker(runtime / "requests.sock") as made:
        yield made


@pytest.fixture
def reranker(runtime: Path) -> Iterator[Reranker]:
    with Reranker(runtime / "requests.sock") as made:
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as made:
        yield made


def test_an_answer_in_another_version_is_told_to_all(
    broker: FakeBroker, reranker: Reranker, pool: ThreadPoolExecutor
) -> None:
    asked = [pool.submit(reranker.rerank, "q", ["d"]) for _ in range(2)]
    kept = pool.submit(rerank_or_keep_order, "q", ["a", "b"], timeout=30, reranker=reranker)
    assert isinstance(broker.receive(), Hello)
    for _ in range(3):
        broker.receive()
    broker.answer(Refusal(b"", "wrong_version", "speak version 2"), b"ORR2")
    errors = [each.exception(timeout=10) for each in asked]
    assert [type(error) for error in errors] == [WrongVersion, WrongVersion]
    assert "'2' is not spoken here" in str(errors[0])
    assert errors[0] is not errors[1]
    assert (kept.result().rerank_error or "").startswith("wrong_version: ")


def test_a_refusal_of_this_version_is_told_to_all(
    broker: FakeBroker, reranker: Reranker, pool: ThreadPoolExecutor
) -> None:
    asked = pool.submit(reranker.rerank, "q", ["d"])
    assert isinstance(broker.receive(), Hello)
    broker.receive()
    broker.answer(Refusal(b"", "wrong_version", "protocol version '1' is not spoken here"))
    error = asked.exception(timeout=10)
    assert isinstance(error, WrongVersion)
    assert error.message == "protocol version '1' is not spoken here"


def test_another_refusal_without_an_id_fails_nobody(
    broker: FakeBroker, reranker: Reranker, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    asked = pool.submit(reranker.rerank, "q", ["d"])
    assert isinstance(broker.receive(), Hello)
    request = broker.receive()
    assert isinstance(request, Rerank)
    broker.answer(Refusal(b"", "invalid_request", "the message does not fit the protocol: at `$.name`"))
    broker.answer(Scores(request.id, [1.0], [], 3, Served("m", "CPU", "f32"), Timings(0, 0, 0)))
    assert asked.result(10).order == [0]
    assert "at `$.name`" in caplog.text
