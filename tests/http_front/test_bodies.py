"""BodyLimits are bounded one by one, all together, and in time."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from openvino_reranker.http_front.app import ALL_BODIES_BYTES, BODY_BYTES
from openvino_reranker.http_front.body_limits import BodyLimits
from openvino_reranker.http_front.errors import HttpError, error_response
from openvino_reranker.protocol.errors import Overloaded, RerankError, TooLarge
from openvino_reranker.tests.processes import Program
from starlette.types import Message, Receive


def pieces(*sizes: int, more: bool = False) -> Receive:
    """A caller that sends so many bytes at a time; ``more``: and then nothing, without an end."""
    left = list(sizes)

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(3600)
        size = left.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left) or more}

    return receive


async def read(receive: Receive) -> int:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    return size


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_one_body_is_bounded() -> None:
    async def test() -> None:
        bodies = BodyLimits(100, 1000, 5)
        with bodies.reading(pieces(60, 40)) as receive:
            assert await read(receive) == 100
        with bodies.reading(pieces(60, 41)) as receive, pytest.raises(TooLarge, match="more than 100 bytes"):
            await read(receive)

    run(test)


def test_all_bodies_together_are_bounded_until_they_are_answered() -> None:
    async def test() -> None:
        bodies = BodyLimits(100, 150, 5)
        with bodies.reading(pieces(100)) as first:
            await read(first)
            with bodies.reading(pieces(60)) as second, pytest.raises(Overloaded) as refused:
                await read(second)
            assert error_response(refused.value, "rr-1").headers["retry-after"] == "1"
        for _ in range(5):
            with bodies.reading(pieces(100)) as receive:
                await read(receive)

    run(test)


@pytest.mark.parametrize("sent", [0, 7])
def test_a_body_that_does_not_come_is_given_up(sent: int) -> None:
    async def test() -> None:
        caller = pieces(*[sent] * bool(sent), more=True)
        with BodyLimits(100, 100, 0.05).reading(caller) as receive, pytest.raises(HttpError) as refused:
            await read(receive)
        assert refused.value.http_status == 408
        assert f"{sent} bytes of it did" in refused.value.message
        assert isinstance(refused.value, RerankError)

    run(test)


def test_waiting_for_the_caller_to_hang_up_has_no_time_limit() -> None:
    async def test() -> None:
        with BodyLimits(100, 100, 0.05).reading(pieces(10)) as receive:
            await read(receive)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await receive()

    run(test)


def test_uploads_that_stall_keep_others_out_for_a_short_time_only(runtime: Path) -> None:
    question = {"query": "q", "documents": ["d"]}
    with (
        contextlib.ExitStack() as held,
        Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as it,
    ):
        port = int(it.wait_for_line("listening on").rsplit(" ", 1)[1])
        stalled = []
        for _ in range(ALL_BODIES_BYTES // BODY_BYTES):
            made = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            made.sendall(b"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
            made.sendall(b" " * (BODY_BYTES - 1))
            stalled.append(made)
        while (refused := httpx.post(f"http://127.0.0.1:{port}/rerank", json=question)).status_code == 503:
            pass  # there is no broker; the last of the bodies is still under way to the front
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        for made in stalled:
            assert made.recv(100).startswith(b"HTTP/1.1 408 ")
        assert httpx.post(f"http://127.0.0.1:{port}/rerank", json=question).status_code == 503
