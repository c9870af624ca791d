"""A web page that was let in can really ask; no other can."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.tests.processes import Program

PAGE = "http://notes.example:3000"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, authorization",
    "Access-Control-Request-Private-Network": "true",
}


@pytest.fixture
def url(runtime: Path) -> Iterator[str]:
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)}
    with Program("http", "--port", "0", "--allow-origin", PAGE, **settings) as program:
        yield "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]


def test_an_allowed_page_may_ask(url: str) -> None:
    asked = httpx.options(url + "/rerank", headers={"Origin": PAGE} | PREFLIGHT)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-headers"] == "content-type, authorization"
    assert asked.headers["access-control-allow-private-network"] == "true"
    answer = httpx.post(url + "/rerank", json={"query": "q", "documents": ["d"]}, headers={"Origin": PAGE})
    assert answer.status_code == 503  # there is no broker: the page can read that too
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null", PAGE + "0", "http://notes.example"])
def test_other_pages_may_not(url: str, origin: str) -> None:
    for answer in (
        httpx.options(url + "/rerank", headers={"Origin": origin} | PREFLIGHT),
        httpx.post(url + "/rerank", json={"query": "q", "documents": ["d"]}, headers={"Origin": origin}),
    ):
        assert answer.status_code == 403
        assert answer.json()["error"]["type"] == "forbidden_origin"
        assert "access-control-allow-origin" not in answer.headers
