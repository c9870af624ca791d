"""A connection that keeps the front waiting is closed in time, and what is no HTTP is answered like any other error."""

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from openvino_reranker.http_front.connection import Protocol
from openvino_reranker.http_front.server import KEEP_ALIVE_S
from openvino_reranker.tests.processes import Program, with_constants
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

LARGE = b"x" * (32 << 20)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, without reading the body; ``/large`` more than any socket holds."""
    body = LARGE if scope["path"] == "/large" else b"answered"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def connection(state: ServerState) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", timeout_keep_alive=60)
    listening = await asyncio.get_running_loop().create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        listening.close()
        while state.connections:
            await asyncio.sleep(0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(in_time())


def error_of(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    assert b"connection: close" in head.lower()
    found = json.loads(body)
    assert found["message"] == found["detail"] == found["error"]["message"]
    error = found["error"]
    assert isinstance(error, dict)
    return error


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openvino_reranker.http_front.connection.HEAD_S", 0.2)
    monkeypatch.setattr("openvino_reranker.http_front.connection.ANSWER_S", 0.2)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_half_a_head_is_answered_with_408_however_it_trickles(before: bytes) -> None:
    async def test() -> None:
        async with connection(ServerState()) as (reader, writer):
            writer.write(before)
            if before:
                assert (await reader.readuntil(b"answered")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            answer = asyncio.ensure_future(reader.read())
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait({answer}, timeout=0.05)
            assert answer.result().startswith(b"HTTP/1.1 408 ")
            assert error_of(answer.result())["type"] == "request_timeout"

    run(test)


@pytest.mark.usefixtures("hurried")
def test_a_connection_that_asks_nothing_is_closed_without_a_word() -> None:
    async def test() -> None:
        async with connection(ServerState()) as (reader, _):
            assert await reader.read() == b""

    run(test)


@pytest.mark.usefixtures("hurried")
def test_a_body_that_is_answered_already_may_not_go_on_for_ever() -> None:
    async def test() -> None:
        async with connection(ServerState()) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
            assert (await reader.readuntil(b"answered")).startswith(b"HTTP/1.1 200 ")
            ended = asyncio.ensure_future(reader.read())
            with contextlib.suppress(ConnectionError):
                while not ended.done():
                    writer.write(b"x")
                    await asyncio.wait({ended}, timeout=0.05)
                assert ended.result() == b""

    run(test)


@pytest.mark.usefixtures("hurried")
def test_an_answer_that_is_not_read_is_dropped() -> None:
    async def test() -> None:
        state = ServerState()
        async with connection(state) as (_, writer):
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()
            writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            while not state.total_requests:
                await asyncio.sleep(0.01)
            while state.connections:
                await asyncio.sleep(0.01)  # the test's own time limit ends this

    run(test)


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http_is_answered_like_any_other_error(garbage: bytes) -> None:
    async def test() -> None:
        async with connection(ServerState()) as (reader, writer):
            writer.write(garbage)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert error_of(answer)["type"] == "invalid_request"

    run(test)


def test_garbage_after_an_answer_ends_the_connection_and_nothing_else() -> None:
    async def test() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with connection(ServerState()) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            await reader.readuntil(b"answered")
            writer.write(b"no chunk\r\n")
            assert await reader.read() == b""
        assert failures == []

    run(test)


def test_an_idle_connection_is_closed_only_when_clients_keep_it_no_longer(runtime: Path) -> None:
    assert KEEP_ALIVE_S > 15
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(runtime)} | with_constants("http_front.server", KEEP_ALIVE_S=2)
    with Program("http", "--port", "0", **settings) as front:
        caller = http.client.HTTPConnection("127.0.0.1", int(front.wait_for_line("listening on").rsplit(" ", 1)[1]))
        for _ in range(2):
            caller.request("GET", "/healthz")
            with caller.getresponse() as response:
                response.read()
            assert caller.sock is not None  # it is kept
        started = time.monotonic()
        assert caller.sock.recv(1) == b""
        assert 1.5 < time.monotonic() - started < 20
        caller.close()
