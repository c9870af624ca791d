"""Where there is an API key, nobody is served without it, and health says nothing about it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import AsyncHttpReranker, HttpReranker, InvalidRequest, Unavailable
from openvino_reranker.http_front.api_key import BadKeyFile, read_keys
from openvino_reranker.tests.processes import Program, run_program
from starlette.datastructures import Headers

BODY = {"query": "q", "documents": ["d"]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("# two of them\nfirst key\n\n  # and the other\nsecond\n", "utf-8")
    file.chmod(0o600)
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(file.parent), "OPENVINO_RERANKER_API_KEY": "of the environment"}
    with Program("http", "--port", "0", "--api-key-file", str(file), **settings) as program:
        yield "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first key"},
        {"Authorization": "bearer second"},
        {"Authorization": "second"},
        {"X-API-Key": "second"},
        {"api-key": "of the environment"},
        {"Authorization": "Bearer wrong", "X-API-Key": "second"},
    ],
)
def test_a_valid_key_is_admitted(url: str, headers: dict[str, str]) -> None:
    assert httpx.post(url + "/rerank", json=BODY, headers=headers).status_code == 503  # there is no broker
    assert "unavailable" in httpx.get(url + "/metrics", headers=headers).text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "# and the other"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/v1/models", "/metrics", "/info", "/nothing"])
def test_without_one_nothing_is_told(url: str, headers: dict[str, str], path: str) -> None:
    method = "POST" if path == "/rerank" else "GET"
    answer = httpx.request(method, url + path, json=BODY if method == "POST" else None, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "unauthorized"


def test_each_dialect_says_so_in_its_form(url: str) -> None:
    answer = httpx.post(url + "/tei/rerank", json={"query": "q", "texts": ["d"]})
    assert answer.status_code == 401
    assert "API key" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/healthz", "/health", "/ping", "/.well-known/live"])
def test_health_needs_none(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/.well-known/ready"])
def test_readiness_needs_none(url: str, path: str) -> None:
    answer = httpx.get(url + path)
    assert answer.status_code == 503
    assert set(answer.json()) == {"ready", "reason"}


def test_keys_of_a_file_that_others_read_are_none(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(BadKeyFile, match="No such file"):
        read_keys(file, None)
    file.write_text("# nothing\n")
    file.chmod(0o600)
    with pytest.raises(BadKeyFile, match="contains no API key"):
        read_keys(file, None)
    file.write_text("key\n")
    file.chmod(0o644)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        read_keys(file, None)
    done = run_program("http", "--port", "0", "--api-key-file", str(file))
    assert done.returncode == 1
    assert "chmod 600" in done.stderr
    assert not read_keys(None, " ")
    assert read_keys(None, "key\n").admit(Headers({"x-api-key": "key"}))


def test_our_own_clients_have_a_key_of_the_program_or_of_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (HttpReranker(url), HttpReranker(url, api_key="wrong")):
        with client, pytest.raises(InvalidRequest, match="an API key is needed"):
            client.rerank("q", ["d"])
    with HttpReranker(url, api_key="second") as client, pytest.raises(Unavailable):  # there is no broker
        client.rerank("q", ["d"])
    with pytest.raises(ValueError, match="printable ASCII"):
        HttpReranker(url, api_key="two\nlines")
    monkeypatch.setenv("OPENVINO_RERANKER_API_KEY", "second\n")
    with HttpReranker(url) as client, pytest.raises(Unavailable):
        client.rerank("q", ["d"])
    with pytest.raises(Unavailable):
        asyncio.run(AsyncHttpReranker(url).rerank("q", ["d"]))
