"""Connections kept between calls: used again, replaced where the server closed them, and never shared after a fork."""

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from openvino_reranker.client import HttpReranker, Unavailable
from openvino_reranker.client.connection_pool import ConnectionPool

#: What a connection does with its n-th request, counted from 1: answers it, or closes, before or in the middle.
Script = Callable[[int], bytes | None]
RANKING = json.dumps(
    {
        "results": [{"index": 0, "score": 1.0, "relevance_score": 0.7}],
        "model": "m",
        "device": "CPU",
        "timings_ms": {"queue": 0, "inference": 0, "total": 0},
        "usage": {"total_tokens": 1},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(RANKING), RANKING)


class Server:
    """Answers by a script; counts what it was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.requests: list[int] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        number = 0
        with connection, connection.makefile("rb") as stream:
            while head := http.client.parse_headers(stream) if stream.readline() else None:
                stream.read(int(head["Content-Length"]))
                number += 1
                self.requests.append(number)
                answer = self._script(number)
                if answer is None:
                    return
                connection.sendall(answer)
                if answer != ANSWER:
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    server = Server(script)
    try:
        yield server
    finally:
        server.close()


def test_calls_one_after_the_other_use_one_connection() -> None:
    with serving(lambda _: ANSWER) as server, HttpReranker(server.url) as reranker:
        for _ in range(5):
            reranker.rerank("q", ["a"])
        assert server.connections == 1
        reranker.close()
        reranker.rerank("q", ["a"])
        assert server.connections == 2


def test_one_that_was_closed_when_it_was_used_again_is_replaced() -> None:
    # Every second request on a connection finds it closed: nothing had been answered, so it is sent again.
    with serving(lambda number: ANSWER if number == 1 else None) as server, HttpReranker(server.url) as reranker:
        for _ in range(3):
            assert reranker.rerank("q", ["a"]).order == [0]
        assert server.requests == [1, 2, 1, 2, 1]


def test_one_that_was_closed_while_it_idled_is_not_used() -> None:
    with serving(lambda _: ANSWER) as server, HttpReranker(server.url) as reranker:
        reranker.rerank("q", ["a"])
        server._open[0].shutdown(socket.SHUT_RDWR)
        time.sleep(0.05)
        reranker.rerank("q", ["a"])
        assert server.requests == [1, 1]


@pytest.mark.parametrize("torn", [None, ANSWER[:-5]])
def test_what_a_new_connection_or_half_an_answer_says_is_not_asked_again(torn: bytes | None) -> None:
    with serving(lambda number: ANSWER if torn and number == 1 else torn) as server:
        reranker = HttpReranker(server.url)
        if torn:
            reranker.rerank("q", ["a"])
        with pytest.raises(Unavailable):
            reranker.rerank("q", ["a"])
        assert server.requests == ([1, 2] if torn else [1])


def test_threads_have_connections_of_their_own_and_few_are_kept() -> None:
    together = threading.Barrier(12)

    def answer(number: int) -> bytes:
        if number == 1:
            together.wait(30)
        return ANSWER

    with serving(answer) as server, HttpReranker(server.url) as reranker, ThreadPoolExecutor(12) as pool:
        assert all(each.order == [0] for each in pool.map(lambda _: reranker.rerank("q", ["a"]), range(12)))
        assert server.connections == 12
        assert len(reranker._connections._idle) == 8


def test_a_child_does_not_speak_on_its_parents_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[http.client.HTTPConnection] = []

    def make() -> http.client.HTTPConnection:
        made.append(http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        return made[-1]

    with serving(lambda _: ANSWER) as server:
        pool = ConnectionPool(make)
        for _ in range(2):
            assert pool.post("/rerank", b"", {}, time.monotonic() + 30).status == 200
        assert len(made) == 1
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert pool.post("/rerank", b"", {}, time.monotonic() + 30).status == 200
        assert len(made) == 2
        made[0].close()
        pool.close()
