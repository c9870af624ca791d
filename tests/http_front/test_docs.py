"""The API's document describes what is served, and its page needs nothing from elsewhere."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.http_front.dialects import DIALECTS
from openvino_reranker.http_front.openapi import document
from openvino_reranker.tests.processes import Program, RuntimeFolder, tool


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with (
        RuntimeFolder() as runtime,
        Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as program,
    ):
        yield "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]


def test_the_document_is_served_and_every_reference_leads_somewhere(url: str) -> None:
    served = httpx.get(url + "/openapi.json").json()
    assert served == document()
    schemas = served["components"]["schemas"]
    references = re.findall(r"#/components/schemas/(\w+)", httpx.get(url + "/openapi.json").text)
    assert set(references) == set(schemas)
    names = [operation["operationId"] for path in served["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


def test_every_path_of_the_document_is_served(url: str) -> None:
    for path, operations in document()["paths"].items():
        for method in operations:
            answer = httpx.request(method, url + path.replace("{name}", "any"), content=b"")
            assert answer.status_code not in (404, 405), path
            assert str(answer.status_code) in operations[method]["responses"], path
    for name in filter(None, DIALECTS):
        assert f"/{name}/v1/rerank" in document()["paths"]


def test_the_page_is_made_of_local_files_alone(url: str) -> None:
    page = httpx.get(url + "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'; " in page.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    for name in files:
        assert name.startswith(("/", "data:"))
        if name.startswith("/"):
            assert httpx.get(url + name).status_code == 200
    assert httpx.get(url + "/docs/docs.html").status_code == 404
    assert httpx.get(url + "/docs/..%2fapp.py").status_code == 404


def test_a_browser_shows_it_without_a_word_of_complaint(url: str, tmp_path: Path) -> None:
    command = [tool("chromium", "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", url + "/docs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "/voyage/v1/rerank" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_its_own_page_may_ask_and_a_page_of_another_port_may_not(url: str) -> None:
    body = {"query": "q", "documents": ["d"]}
    assert httpx.post(url + "/rerank", json=body, headers={"Origin": url}).status_code == 503  # there is no broker
    for origin in ("http://127.0.0.1:1", "http://localhost", "http://evil.example", url + "0"):
        assert httpx.post(url + "/rerank", json=body, headers={"Origin": origin}).status_code == 403
    rebound = {"Origin": "http://evil.example", "Host": "evil.example"}
    assert httpx.post(url + "/rerank", json=body, headers=rebound).status_code == 403
