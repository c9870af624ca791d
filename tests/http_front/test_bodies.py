"""Bodies are bounded one by one, all together, and in time; large ones wait for room, small ones do not."""

import asyncio
import contextlib
import gzip
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from openvino_reranker.http_front.body_reader import BODY_BYTES, LARGE_BODIES_BYTES, BodyReader
from openvino_reranker.http_front.body_room import SMALL_BYTES, BodyRoom
from openvino_reranker.http_front.content_encoding import MOST_MEMBERS, inflate
from openvino_reranker.http_front.errors import HttpError, error_response
from openvino_reranker.protocol.errors import InvalidRequest, Overloaded, RerankError, TooLarge
from openvino_reranker.tests.processes import Program, with_constants
from starlette.requests import Request
from starlette.types import Message

LARGE = SMALL_BYTES + 1


def request(*sizes: int, more: bool = False, headers: dict[str, str] | None = None) -> Request:
    """A caller that sends so many bytes at a time; ``more``: and then nothing, without an end."""
    left = list(sizes)

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(3600)
        size = left.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left) or more}

    head = {"content-length": str(sum(sizes))} if headers is None else headers
    raw = [(name.encode(), value.encode()) for name, value in head.items()]
    return Request({"type": "http", "method": "POST", "path": "/rerank", "headers": raw}, receive)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(in_time())


async def read(reader: BodyReader, request: Request) -> int:
    async with reader.read(request) as body:
        return len(body.data)


@pytest.mark.parametrize("headers", [None, {}], ids=["announced", "in-chunks"])
def test_one_body_is_bounded(headers: dict[str, str] | None) -> None:
    async def test() -> None:
        reader = BodyReader(BodyRoom(1000, 1 << 20, 5), most_bytes=100)
        assert await read(reader, request(60, 40, headers=headers)) == 100
        with pytest.raises(TooLarge, match=r"the limit is 100|more than 100 bytes"):
            await read(reader, request(60, 41, headers=headers))

    run(test)


def test_large_bodies_wait_unread_for_room_in_their_order_and_small_ones_do_not() -> None:
    async def test() -> None:
        room = BodyRoom(3 * LARGE, 1 << 20, 5)
        reader = BodyReader(room)
        order: list[int] = []

        async def hold(number: int, size: int, until: asyncio.Event) -> None:
            async with reader.read(request(size)) as body:
                order.append(number)
                assert len(body.data) == size
                await until.wait()

        first, rest = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(hold(0, 2 * LARGE, first))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(hold(number, size, rest)) for number, size in ((1, 3 * LARGE), (2, LARGE))]
        await asyncio.sleep(0.05)
        assert order == [0]  # the second would fit beside it, but it is not its turn
        assert await read(reader, request(SMALL_BYTES)) == SMALL_BYTES
        first.set()
        await asyncio.sleep(0.05)
        assert order == [0, 1]
        rest.set()
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2]
        assert (room.held, room.small_held, len(room.waiting)) == (0, 0, 0)

    run(test)


def test_what_waits_too_long_for_room_is_refused_and_so_are_too_many_small_ones() -> None:
    async def test() -> None:
        room = BodyRoom(LARGE, 2 * SMALL_BYTES, 0.05)
        reader = BodyReader(room)
        async with reader.read(request(LARGE)), reader.read(request(SMALL_BYTES)), reader.read(request(SMALL_BYTES)):
            for size in (LARGE, 1):
                with pytest.raises(Overloaded) as refused:
                    await read(reader, request(size))
                assert error_response(refused.value, "rr-1").headers["retry-after"] == "1"
        assert await read(reader, request(LARGE)) == LARGE
        assert (room.held, room.small_held, len(room.waiting)) == (0, 0, 0)

    run(test)


def test_a_caller_that_goes_away_while_it_waits_holds_up_nobody() -> None:
    async def test() -> None:
        room = BodyRoom(LARGE, 1 << 20, 5)
        reader = BodyReader(room)
        async with reader.read(request(LARGE)):
            waiting = [asyncio.create_task(read(reader, request(LARGE))) for _ in range(3)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
            await asyncio.sleep(0.01)
        assert await asyncio.gather(*waiting[1:]) == [LARGE, LARGE]
        assert room.held == 0

    run(test)


def test_once_its_texts_are_read_a_body_leaves_room_for_others() -> None:
    async def test() -> None:
        reader = BodyReader(BodyRoom(LARGE + 10, 1 << 20, 5))
        async with reader.read(request(LARGE)) as body:
            body.reservation.shrink(10)
            assert await read(reader, request(LARGE)) == LARGE

    run(test)


@pytest.mark.parametrize("sent", [0, 7])
def test_a_body_that_does_not_come_is_given_up(sent: int) -> None:
    async def test() -> None:
        caller = request(*[sent] * bool(sent), more=True)
        with pytest.raises(HttpError) as refused:
            await read(BodyReader(BodyRoom(100, 1 << 20, 5), seconds=0.05), caller)
        assert refused.value.http_status == 408
        assert f"{sent} bytes received after" in refused.value.message
        assert isinstance(refused.value, RerankError)

    run(test)


def test_a_body_that_had_come_while_the_front_was_busy_is_not_late() -> None:
    async def test() -> None:
        come = asyncio.Event()

        async def receive() -> Message:
            await come.wait()
            return {"type": "http.request", "body": b"x", "more_body": False}

        caller = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
        reading = asyncio.create_task(read(BodyReader(BodyRoom(100, 1 << 20, 5), seconds=0.1), caller))
        await asyncio.sleep(0.01)
        time.sleep(0.2)  # the fault that is injected
        come.set()
        assert await reading == 1

    run(test)


def test_a_body_of_two_lengths_is_refused_and_holds_no_memory() -> None:
    async def test() -> None:
        reader = BodyReader(BodyRoom(1000, 1 << 20, 5), most_bytes=100)
        headers = {"content-length": "10", "transfer-encoding": "chunked"}
        with pytest.raises(InvalidRequest, match="not both"):
            await read(reader, request(60, 40, headers=headers))

    run(test)


def test_gzip_of_endless_members_is_refused_before_it_costs_much() -> None:
    empty = gzip.compress(b"")
    assert inflate(empty * MOST_MEMBERS, 10) == b""
    with pytest.raises(InvalidRequest, match="more than 1000 members"):
        inflate(empty * (MOST_MEMBERS + 1), 10)


def test_gzip_is_inflated_within_the_bound() -> None:
    data = bytes(range(256)) * 100
    assert inflate(gzip.compress(data), len(data)) == data
    assert inflate(gzip.compress(data[:100]) + gzip.compress(data[100:]), len(data)) == data
    with pytest.raises(TooLarge, match=f"more than {len(data) - 1} bytes"):
        inflate(gzip.compress(data), len(data) - 1)
    with pytest.raises(TooLarge):
        inflate(gzip.compress(b"\0" * (64 << 20)), 1 << 20)
    for wrong in (b"", b"no gzip", gzip.compress(data)[:-9], gzip.compress(data) + b"more"):
        with pytest.raises(InvalidRequest, match="not valid gzip"):
            inflate(wrong, len(data))


def test_uploads_that_stall_end_in_time_and_keep_no_small_request_out(runtime: Path) -> None:
    question = {"query": "q", "documents": ["d"]}
    with (
        contextlib.ExitStack() as held,
        Program(
            *("http", "--port", "0"),
            OPENVINO_RERANKER_RUNTIME_DIR=str(runtime),
            **with_constants("http_front.body_reader", BODY_S=3.0),
        ) as it,
    ):
        port = int(it.wait_for_line("listening on").rsplit(" ", 1)[1])
        stalled = []
        for _ in range(LARGE_BODIES_BYTES // BODY_BYTES):
            made = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            made.sendall(b"POST /rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
            made.sendall(b" " * (BODY_BYTES - 1))
            stalled.append(made)
        answer = httpx.post(f"http://127.0.0.1:{port}/rerank", json=question)
        assert answer.status_code == 503  # there is no broker
        large = {"query": "q", "documents": ["d" * 1000] * 500}
        answer = httpx.post(f"http://127.0.0.1:{port}/rerank", json=large, timeout=30)
        assert answer.status_code in (429, 503)  # it waited for room as long as the others may stall
        for made in stalled:
            assert made.recv(100).startswith(b"HTTP/1.1 408 ")
        assert httpx.post(f"http://127.0.0.1:{port}/rerank", json=large, timeout=30).status_code == 503
