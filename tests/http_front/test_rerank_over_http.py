"""What the HTTP front accepts, answers and refuses, against the running service."""

import gzip
import json
import math
import socket
from typing import Any

import httpx
import pytest
from openvino_reranker.http_front.body_reader import BODY_BYTES
from openvino_reranker.tests.processes import Service

GOOD = {"query": "what is bread?", "documents": ["Bread is baked dough.", "The sky is blue."]}


def refused(answer: httpx.Response) -> str:
    """Check the error body's form; return its message."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["message"] == body["detail"] == body["error"]["message"]
    assert body["error"]["code"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    message = body["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(
    "path", ["/rerank", "/v1/rerank", "/v2/rerank", "/rerank/", "/v1/v2/rerank", "/reranking", "//v1//rerank"]
)
def test_every_spelling_of_the_path_answers_the_same(service: Service, path: str) -> None:
    answer = service.post(GOOD, path)
    assert answer.status_code == 200
    assert [result["index"] for result in answer.json()["results"]] == [0, 1]


def test_an_answer_has_the_fields_that_clients_read(service: Service) -> None:
    answer = service.post(GOOD | {"return_documents": True})
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert body["object"] == "rerank"
    assert body["id"] == answer.headers["x-request-id"]
    assert body["usage"]["total_tokens"] == body["meta"]["tokens"]["input_tokens"] > 10
    assert body["meta"]["warnings"] == []
    for result in body["results"]:
        assert result["document"] == {"text": GOOD["documents"][result["index"]]}
        assert result["relevance_score"] == pytest.approx(1 / (1 + math.exp(-result["score"])))
        assert result["truncated"] is False


@pytest.mark.parametrize(
    ("extra", "count"),
    [
        ({"top_k": 1}, 1),
        ({"top_n": 1}, 1),
        ({"top_k": 1, "top_n": 1}, 1),
        ({"top_k": 0}, 2),
        ({"top_k": None, "top_n": None}, 2),
        ({"top_k": 99}, 2),
        ({"model": None, "return_documents": None, "no_such_key": {"a": 1}}, 2),
        ({"return_documents": "false"}, 2),
    ],
)
def test_optional_fields(service: Service, extra: dict[str, Any], count: int) -> None:
    results = service.post(GOOD | extra).json()["results"]
    assert len(results) == count
    assert all("document" not in result for result in results)


def test_documents_may_be_mixed_and_empty_ones_are_scored(service: Service) -> None:
    documents = ["", {"text": "Bread is baked dough.", "id": 7, "other": 1}, {"text": ""}, "   "]
    results = service.post({"query": "what is bread?", "documents": documents}).json()["results"]
    assert results[0]["index"] == 1
    assert results[0]["id"] == "7"
    assert sorted(result["index"] for result in results) == [0, 1, 2, 3]


def test_equal_scores_keep_the_order_of_the_documents(service: Service) -> None:
    results = service.post({"query": "q", "documents": ["same text"] * 5}).json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert len({result["score"] for result in results}) == 1


def test_a_cut_document_says_so(service: Service) -> None:
    body = service.post({"query": "bread", "documents": ["bread " * 4000, "bread"]}).json()
    assert [result["truncated"] for result in sorted(body["results"], key=lambda each: each["index"])] == [True, False]
    assert "1 of the returned documents" in body["meta"]["warnings"][0]


@pytest.mark.parametrize(
    "text", ["日本のパンはおいしい。", "𝔘nicode 🍞 brød", "\x00\x01 control", "ﷺ" * 50, "a" * 5000]
)
def test_any_valid_unicode_is_scored(service: Service, text: str) -> None:
    (result,) = service.post({"query": text, "documents": [text]}).json()["results"]
    assert math.isfinite(result["score"])


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"documents": ["a"]}, "'query' is missing"),
        ({"query": None, "documents": ["a"]}, "'query' is missing"),
        ({"query": "q"}, "'documents' is missing"),
        ({"query": "", "documents": ["a"]}, "query is empty"),
        ({"query": " \n", "documents": ["a"]}, "query is empty"),
        ({"query": 5, "documents": ["a"]}, "query must be a string, not a number"),
        ({"query": ["q"], "documents": ["a"]}, "query must be a string, not an array"),
        ({"query": "q", "documents": []}, "documents is empty"),
        ({"query": "q", "documents": "text"}, "documents must be a list of strings or objects, not a string"),
        ({"query": "q", "documents": {"text": "a"}}, "documents must be a list of strings or objects, not an object"),
        ({"query": "q", "documents": ["a", None]}, "documents[1] must be a string or an object with 'text', not null"),
        ({"query": "q", "documents": ["a", 3]}, "documents[1]"),
        ({"query": "q", "documents": [{"id": "a"}]}, "documents[0] has no 'text'"),
        ({"query": "q", "documents": [{"text": ["a"]}]}, "documents[0] needs a string 'text', not an array"),
        ({"query": "q", "documents": [{"text": "a", "id": {}}]}, "documents[0]: id must be"),
        ({"query": "q", "documents": ["a"], "top_k": -1}, "top_k is -1"),
        ({"query": "q", "documents": ["a"], "top_n": 1.5}, "top_n must be a whole number"),
        ({"query": "q", "documents": ["a"], "top_k": True}, "top_k must be a whole number"),
        ({"query": "q", "documents": ["a"], "top_k": 1, "top_n": 2}, "top_k is 1 and top_n is 2"),
        ({"query": "q", "documents": ["a"], "return_documents": "maybe"}, "return_documents must be true or false"),
        ([], "must be a JSON object"),
        ("text", "must be a JSON object"),
        (None, "must be a JSON object"),
        ({"query": "word " * 600, "documents": ["a"]}, "query has 600 tokens; at most 477"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(service: Service, body: Any, part: str) -> None:
    answer = service.post(body)
    assert answer.status_code == 400
    assert part in refused(answer)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "the body is empty"),
        (b"{", "not valid JSON"),
        (b'{"query": "q", "documents": ["a"],}', "not valid JSON"),
        (b'{"query": "q", "documents": ["\xff"]}', "not valid UTF-8"),
        (b'{"query": "q", "documents": ["\\ud800"]}', "half a surrogate pair"),
        (b'{"query": "\\udc00", "documents": ["a"]}', "half a surrogate pair"),
        (b'{"x":' + b"[" * 200_000, "nested too deeply"),
        (b'{"query": NaN}', "not valid JSON"),
    ],
)
def test_broken_bodies_are_told_what_is_wrong(service: Service, raw: bytes, part: str) -> None:
    answer = httpx.post(service.url + "/rerank", content=raw)
    assert answer.status_code == 400
    assert part in refused(answer)


@pytest.mark.parametrize(
    ("documents", "part"),
    [
        (["a"] * 1001, "more than 1000 documents; the limit is 1000"),
        (["a", "b" * ((1 << 20) + 1)], "documents[1] has 1048577 bytes; the limit is 1048576"),
        (["a" * (1 << 20)] * 17, "the limit is 16777216"),
    ],
)
def test_too_much_is_told_the_bound(service: Service, documents: list[str], part: str) -> None:
    answer = service.post({"query": "q", "documents": documents})
    assert answer.status_code == 413
    assert part in refused(answer)


def test_a_body_over_the_limit_is_refused_unread(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_over_the_limit_is_refused(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    front = service.status().peers["http_front"]
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(BODY_BYTES >> 20):
            connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        connection.sendall(b"1\r\n \r\n")  # one byte more than is allowed, and no end
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert service.post(GOOD).status_code == 200
    assert service.status().peers["http_front"] == front


def test_any_content_type_and_key_are_taken(service: Service) -> None:
    for headers in ({"content-type": "text/plain"}, {"authorization": "Bearer x"}, {"api-key": "x"}):
        answer = httpx.post(service.url + "/rerank", content=json.dumps(GOOD), headers=headers, timeout=30)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/nothing", 404, None),
        ("POST", "/v1/embeddings", 404, None),
        ("POST", "/rerank%0a", 404, None),
        ("GET", "/rerank", 405, "POST"),
        ("DELETE", "/v1/rerank", 405, "POST"),
        ("PUT", "/healthz", 405, "GET, HEAD"),
        ("POST", "/readyz", 405, "GET, HEAD"),
    ],
)
def test_wrong_paths_and_methods(service: Service, method: str, path: str, status: int, allow: str | None) -> None:
    answer = httpx.request(method, service.url + path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    message = refused(answer)
    assert status == 405 or "/v1/rerank" in message


def test_health_needs_no_model(service: Service) -> None:
    answer = httpx.get(service.url + "/healthz")
    assert answer.status_code == 200
    assert answer.json()["ok"] is True


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ({"host": "evil.example"}, "Host 'evil.example'"),
        ({"host": "evil.example:18818"}, "Host 'evil.example'"),
        ({"host": ""}, "Host ''"),
        ({"origin": "https://evil.example"}, "pages of 'https://evil.example'"),
        ({"origin": "null"}, "pages of 'null'"),
        ({"origin": "http://127.0.0.1:3000"}, "pages of 'http://127.0.0.1:3000'"),
    ],
)
def test_no_web_page_may_drive_the_service(service: Service, headers: dict[str, str], part: str) -> None:
    answer = service.post(GOOD, headers=headers)
    assert answer.status_code == 403
    assert part in refused(answer)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:18818", "LOCALHOST:18818"])
def test_loopback_names_are_served(service: Service, host: str) -> None:
    assert service.post(GOOD, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://127.0.0.1:1/healthz", 200),
        ("HTTP://localhost/healthz?x=1", 200),
        ("http://localhost", 200),
        ("http://evil.example/healthz", 403),
        ("http://127.0.0.1@evil.example/healthz", 403),
    ],
)
def test_a_target_in_absolute_form_is_its_path(service: Service, target: str, status: int) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert connection.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())


def test_gzip_is_read_and_other_encodings_are_refused(service: Service) -> None:
    packed = gzip.compress(json.dumps(GOOD).encode())
    headers = {"content-encoding": "gzip"}
    answer = httpx.post(service.url + "/rerank", content=packed, headers=headers, timeout=30)
    assert [result["index"] for result in answer.json()["results"]] == [0, 1]
    answer = httpx.post(service.url + "/rerank", content=packed[:-5], headers=headers)
    assert answer.status_code == 400
    assert "not valid gzip" in refused(answer)
    answer = httpx.post(service.url + "/rerank", content=packed, headers={"content-encoding": "zstd"})
    assert answer.status_code == 415
    assert "'zstd' is not supported" in refused(answer)


def test_garbage_instead_of_http_disturbs_nobody(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    for garbage in (b"\x00\xff" * 500, b"GET\r\n\r\n", b"POST /rerank HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
            assert b"200 OK" not in connection.recv(1000)
    assert service.post(GOOD).status_code == 200


def test_a_caller_that_hangs_up_frees_the_queue(service: Service) -> None:
    before = service.status().counters["cancelled_requests"]
    body = {"query": "q", "documents": [f"document number {number} " * 30 for number in range(300)]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(service.url + "/rerank", json=body, timeout=0.3)
    while service.status().counters["cancelled_requests"] == before:
        pass  # the test's own time limit ends this if it never comes
    assert service.status().queue.pairs == 0
