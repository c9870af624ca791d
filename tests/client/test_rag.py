"""The variables of a RAG program: what they mean, what is refused, and what comes of them."""

import asyncio
import time
from pathlib import Path

import pytest
from openvino_reranker.client import (
    FallbackResult,
    InvalidArgument,
    RagSettingError,
    RagSettings,
    arerank_or_keep_order,
)
from openvino_reranker.client.endpoint import async_reranker_at, reranker_at
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.processes import Service

CANDIDATES = [
    {"id": "museum", "text": "Berlin is well known for its museums."},
    {"id": "paris", "text": "Paris has about two million inhabitants."},
    {"id": "people", "text": "Berlin had a population of 3,520,031 registered inhabitants."},
]
QUESTION = "how many people live in Berlin?"


def read(**variables: str) -> RagSettings:
    return RagSettings.from_environment({f"RAG_RERANK_{name}": value for name, value in variables.items()})


def test_nothing_set_is_off_with_the_usual_numbers() -> None:
    for settings in (read(), read(ENABLED="", URL=" ", TOP_K="")):
        assert settings == RagSettings(False, "", 20, 5, 3000)
    assert read().fetch_k == 5
    assert read(ENABLED="true").fetch_k == 20


def test_all_variables_are_read() -> None:
    settings = read(ENABLED="Yes", URL="http://127.0.0.1:9", INITIAL_K="40", TOP_K="40", TIMEOUT_MS="250")
    assert settings == RagSettings(True, "http://127.0.0.1:9", 40, 40, 250)


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_RERANK_TOP_K", "7")
    assert RagSettings.from_environment().top_k == 7


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ENABLED", "maybe", "true or false"),
        ("URL", "127.0.0.1:18818", "an http URL, the path of a requests.sock, or empty"),
        ("INITIAL_K", "0", "a whole number from 1 to 1000"),
        ("INITIAL_K", "1001", "a whole number from 1 to 1000"),
        ("TOP_K", "-1", "a whole number from 1 to 1000"),
        ("TOP_K", "five", "a whole number from 1 to 1000"),
        ("TIMEOUT_MS", "2.5", "a whole number from 1 to 600000"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, allowed: str) -> None:
    with pytest.raises(RagSettingError) as caught:
        read(**{name: value})
    assert str(caught.value).startswith(f"RAG_RERANK_{name} is {value!r}; it must be {allowed}")


def test_fewer_candidates_than_are_kept_make_no_sense() -> None:
    with pytest.raises(RagSettingError, match="RAG_RERANK_INITIAL_K is 3 and RAG_RERANK_TOP_K is 5"):
        read(INITIAL_K="3")


def test_while_it_is_off_nobody_is_asked(tmp_path: Path) -> None:
    settings = read(URL=str(tmp_path / "nobody.sock"), TOP_K="2")
    kept = settings.rerank(QUESTION, CANDIDATES)
    assert (kept.documents, kept.order) == (CANDIDATES[:2], [0, 1])
    assert (kept.ranking, kept.rerank_error) == (None, None)


@pytest.mark.parametrize("way", ["http", "socket", "found"])
def test_it_reranks_by_http_by_a_named_socket_and_by_the_usual_one(
    service: Service, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENVINO_RERANKER_RUNTIME_DIR", str(service.runtime))
    url = {"http": service.url, "socket": str(service.socket), "found": ""}[way]
    settings = read(ENABLED="1", URL=url, TOP_K="2", TIMEOUT_MS="60000")

    async def ask() -> FallbackResult[dict[str, str]]:
        try:
            return await settings.arerank(QUESTION, CANDIDATES)
        finally:
            await async_reranker_at(url).close()  # other tests count the service's clients

    try:
        results = [settings.rerank(QUESTION, CANDIDATES), asyncio.run(ask()), asyncio.run(ask())]
    finally:
        reranker_at(url).close()
    for kept in results:
        assert kept.rerank_error is None
        assert [document["id"] for document in kept.documents] == ["people", "paris"]
        assert kept.order == [2, 1]
        assert kept.ranking is not None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "/nowhere/requests.sock", ""])
def test_without_a_service_the_order_stands(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENVINO_RERANKER_RUNTIME_DIR", str(tmp_path))
    settings = read(ENABLED="on", URL=url, TOP_K="2")
    for kept in (settings.rerank(QUESTION, CANDIDATES), asyncio.run(settings.arerank(QUESTION, CANDIDATES))):
        assert kept.documents == CANDIDATES[:2]
        assert kept.rerank_error is not None
        assert kept.rerank_error.startswith("unavailable: ")


def test_an_asyncio_program_waits_no_longer_than_it_said(runtime: Path) -> None:
    socket = runtime / "requests.sock"
    with FakeBroker(socket):  # takes the request, never answers
        settings = read(ENABLED="on", URL=str(socket), TOP_K="2", TIMEOUT_MS="400")
        started = time.monotonic()
        kept = asyncio.run(settings.arerank(QUESTION, CANDIDATES))
        took = time.monotonic() - started
    assert kept.documents == CANDIDATES[:2]
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith("deadline_exceeded: ")
    assert 0.3 < took < 10


def test_a_wrong_call_raises_in_an_asyncio_program_too() -> None:
    with pytest.raises(InvalidArgument):
        asyncio.run(arerank_or_keep_order("q", ["a"], -1))
    assert asyncio.run(arerank_or_keep_order("q", [])).documents == []


def test_one_process_has_one_reranker_for_an_endpoint() -> None:
    assert reranker_at("/a/requests.sock") is reranker_at("/a/requests.sock")
    assert reranker_at("http://127.0.0.1:1") is reranker_at("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="is not an http URL"):
        reranker_at("127.0.0.1:1")
