"""The client over HTTP: the same rankings as over the socket, and one error for each thing that can go wrong."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openvino_reranker.client import (
    AsyncHttpReranker,
    DeadlineExceeded,
    Failed,
    HttpReranker,
    InvalidRequest,
    Overloaded,
    Reranker,
    RerankError,
    Unavailable,
    rerank_or_keep_order,
)
from openvino_reranker.client.encoding import Document
from openvino_reranker.tests.processes import Service

QUERY = "how many people live in Berlin?"
DOCUMENTS: list[Document] = [
    "Berlin is well known for its museums.",
    {"id": "b", "text": "Berlin had a population of 3,520,031 registered inhabitants.", "source": "ignored"},
    "",
    {"text": "museum " * 600, "id": "long"},
]


@contextmanager
def answering(*parts: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that reads a little of each request and sends these parts; its URL. Without parts it only listens."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(65536)
                    for part in parts:
                        try:
                            connection.sendall(part)
                        except OSError:
                            break
                        ended.wait(pause_s)
                    if not parts:
                        ended.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def response(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "Connection: close", "", body]
    return "\r\n".join(lines).encode()


def refusal(kind: str, code: int, message: str) -> str:
    return json.dumps({"message": message, "detail": message, "error": {"type": kind, "code": code}})


def test_a_ranking_is_the_one_of_the_socket(service: Service) -> None:
    over_http = HttpReranker(service.url).rerank(QUERY, DOCUMENTS)
    with Reranker(service.socket) as reranker:
        over_socket = reranker.rerank(QUERY, DOCUMENTS)
    assert [(hit.index, hit.id, hit.truncated) for hit in over_http.hits] == [
        (hit.index, hit.id, hit.truncated) for hit in over_socket.hits
    ]
    assert next(hit.id for hit in over_http.hits) == "b"
    for ours, theirs in zip(over_http.hits, over_socket.hits, strict=True):
        assert (ours.score, ours.relevance_score) == pytest.approx((theirs.score, theirs.relevance_score), abs=1e-4)
    assert (over_http.model, over_http.device) == (over_socket.model, over_socket.device)
    assert over_http.tokens == over_socket.tokens
    assert over_http.timings_ms.inference > 0


def test_the_async_client_gives_the_same(service: Service) -> None:
    async def ask() -> list[list[int]]:
        reranker = AsyncHttpReranker(service.url)
        return [
            ranking.order for ranking in await asyncio.gather(*(reranker.rerank(QUERY, DOCUMENTS, 2) for _ in range(4)))
        ]

    orders = asyncio.run(ask())
    assert orders == [HttpReranker(service.url).rerank(QUERY, DOCUMENTS, 2).order] * 4
    assert len(orders[0]) == 2


def test_a_long_document_is_read_in_the_windows_that_are_asked_for(service: Service) -> None:
    options: dict[str, Any] = {"max_windows": 2, "window_stride": 300, "use_cache": False}
    with Reranker(service.socket) as reranker:
        over_socket = reranker.rerank(QUERY, DOCUMENTS, **options)
    over_http = HttpReranker(service.url).rerank(QUERY, DOCUMENTS, **options)
    awaited = asyncio.run(AsyncHttpReranker(service.url).rerank(QUERY, DOCUMENTS, **options))
    for ranking in (over_http, awaited):
        assert [(hit.index, hit.windows, hit.window) for hit in ranking.hits] == [
            (hit.index, hit.windows, hit.window) for hit in over_socket.hits
        ]
        assert max(hit.windows for hit in ranking.hits) == 2
        assert ranking.cached == 0


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v2/rerank", "/rerank/"])
def test_a_url_with_or_without_a_path_will_do(service: Service, path: str) -> None:
    assert HttpReranker(service.url + path).rerank(QUERY, DOCUMENTS, 1).hits[0].id == "b"


@pytest.mark.parametrize("url", ["", "127.0.0.1:18818", "ftp://127.0.0.1", "http://", "/run/requests.sock"])
def test_what_is_not_an_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http URL such as"):
        HttpReranker(url)


def test_a_wrong_request_is_refused_before_anything_is_sent() -> None:
    reranker = HttpReranker("http://127.0.0.1:1")
    for query, documents, top_k in [("", ["a"], None), ("q", [], None), ("q", ["a"], -1)]:
        with pytest.raises(InvalidRequest):
            reranker.rerank(query, documents, top_k)
    with pytest.raises(InvalidRequest, match="timeout"):
        reranker.rerank("q", ["a"], timeout=0)
    with pytest.raises(InvalidRequest, match="max_windows is 0"):
        reranker.rerank("q", ["a"], max_windows=0)
    with pytest.raises(InvalidRequest, match="priority"):
        reranker.rerank("q", ["a"], priority="urgent")  # type: ignore[arg-type]  # pyright: ignore


def test_a_refusal_of_the_service_is_the_error_it_names(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="query"):
        HttpReranker(service.url).rerank("word " * 600, ["a"])  # too many tokens, which only the worker counts


def test_a_proxy_of_the_environment_is_not_asked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert HttpReranker(service.url).rerank(QUERY, DOCUMENTS).order[0] == 1


TROUBLES = [
    (response("429 Too Many", refusal("overloaded", 429, "full"), "Retry-After: 2"), Overloaded, "full"),
    (response("503 Unavailable", refusal("unavailable", 503, "draining")), Unavailable, "draining"),
    (response("500 Oops", "<html>"), Failed, "HTTP 500 from something that is not the rerank service"),
    (response("502 Bad Gateway", "<html>"), Unavailable, "HTTP 502"),
    (response("404 Not Found", "{}"), InvalidRequest, "HTTP 404"),
    (response("200 OK", "<html>"), Unavailable, "not an answer of the rerank service"),
    (response("200 OK", '{"results": []}'), Unavailable, "not an answer of the rerank service"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", Unavailable, "no rerank service at"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Unavailable, "no rerank service at"),
    (b"", Unavailable, "no rerank service at"),
]


@pytest.mark.parametrize(("answer", "error", "message"), TROUBLES)
def test_each_trouble_has_its_error_and_leaves_the_order(answer: bytes, error: type[RerankError], message: str) -> None:
    with answering(answer) as url:
        reranker = HttpReranker(url)
        with pytest.raises(error, match=message) as caught:
            reranker.rerank("q", ["a", "b"])
        kept = rerank_or_keep_order("q", ["a", "b", "c"], 2, reranker=reranker)
    assert caught.value.retry_after_ms == (2000 if error is Overloaded else None)
    assert (kept.documents, kept.order, kept.ranking) == (["a", "b"], [0, 1], None)
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith(f"{error.code}: ")


def test_documents_that_were_not_sent_are_not_ranked() -> None:
    answer = {
        "results": [{"index": 2, "score": 1.0, "relevance_score": 0.7}],
        "model": "m",
        "device": "CPU",
        "timings_ms": {"queue": 0, "inference": 0, "total": 0},
        "usage": {"total_tokens": 1},
    }
    with answering(response("200 OK", json.dumps(answer))) as url, pytest.raises(Unavailable, match="not sent"):
        HttpReranker(url).rerank("q", ["a", "b"])


def test_where_nobody_listens_the_service_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=f"no rerank service at http://127.0.0.1:{port}"):
        HttpReranker(f"http://127.0.0.1:{port}").rerank("q", ["a"])


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *[b" "] * 900)])
def test_a_server_that_is_silent_or_dribbles_has_until_the_deadline(parts: tuple[bytes, ...]) -> None:
    with answering(*parts, pause_s=0.02) as url:
        started = time.monotonic()
        kept = rerank_or_keep_order("q", ["a", "b"], timeout=0.5, reranker=HttpReranker(url))
        took = time.monotonic() - started
    assert kept.documents == ["a", "b"]
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith("deadline_exceeded: ")
    assert 0.4 < took < 10  # the dribble alone would take 18 s


def test_an_early_refusal_is_read_although_the_request_is_not() -> None:
    too_large = response("413 Too Large", refusal("too_large", 413, "too much"))
    with answering(too_large) as url, pytest.raises(RerankError) as caught:
        HttpReranker(url).rerank("q", ["x" * 1_000_000] * 14)
    # The kernel may drop the answer together with what was not read; what must not happen is another exception.
    assert caught.value.code in ("too_large", "unavailable")


def test_deadline_exceeded_names_the_time() -> None:
    with answering() as url, pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.2 s"):
        HttpReranker(url).rerank("q", ["a"], timeout=0.2, grace=0.0)
