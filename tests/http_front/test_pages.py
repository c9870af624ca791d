"""A web page that was let in can really ask; no other can."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client.aio import AsyncReranker
from openvino_reranker.http_front.app import make_app
from openvino_reranker.http_front.body_reader import BODY_BYTES
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


def test_an_allowed_page_can_read_that_its_request_is_too_large(url: str) -> None:
    head = f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nOrigin: {PAGE}\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(10_000).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert f"access-control-allow-origin: {PAGE}\r\n" in answer.lower()


@pytest.mark.parametrize("path", ["/rerank", "/readyz"])
def test_a_fault_of_the_front_is_500_in_our_form_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret text")

    monkeypatch.setattr(AsyncReranker, "rerank_encoded", broken)
    monkeypatch.setattr(AsyncReranker, "status", broken)

    async def ask() -> httpx.Response:
        # An exception that leaves the application (uvicorn would log it again) is raised here.
        transport = httpx.ASGITransport(make_app(Path("/nowhere/requests.sock"), 5.0, allow_origins=[PAGE]))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            method = "POST" if path == "/rerank" else "GET"
            body = {"query": "q", "documents": ["d"]} if method == "POST" else None
            return await client.request(method, path, json=body, headers={"Origin": PAGE})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    body = answer.json()
    assert body["error"] == {"message": body["message"], "type": "internal_error", "code": 500}
    assert body["detail"] == body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "secret text" not in answer.text
    assert answer.headers["access-control-allow-origin"] == PAGE
    [record] = [record for record in caplog.records if record.exc_info]
    assert body["request_id"] in record.getMessage()
