"""One look at the broker a second for everybody who watches, none for nobody, and nobody waits for a slow one."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openvino_reranker.client import Overloaded, Unavailable
from openvino_reranker.http_front.status_feed import STREAMS, StatusFeed
from openvino_reranker.protocol.limits import DEFAULT_LIMITS
from openvino_reranker.protocol.status_messages import CallerStatus, QueueStatus, Status, WorkerStatus

EVERY_S = 0.15
COUNTERS = ("answered", "queue_ms", "batches", "batch_pairs", "batch_callers", "tokens", "padded_tokens")


class Looks:
    """A broker that is looked at: it does ten pairs a look, each of which is a second after the one before."""

    def __init__(self) -> None:
        self.count = 0
        self.fault: Exception | None = None

    async def __call__(self) -> Status:
        self.count += 1
        if self.fault is not None:
            raise self.fault
        return Status(
            id=b"x",
            epoch="e",
            pid=1,
            uptime_s=float(self.count),
            ready=True,
            reason="ready",
            queue=QueueStatus(pairs=3),
            worker=WorkerStatus(device="CPU"),
            peers={},
            counters=dict.fromkeys(COUNTERS, 10 * self.count) | {"inference_ms": 500.0 * self.count},
            limits=DEFAULT_LIMITS,
            callers=[CallerStatus("http uid 7", 5, 1.0, 0)],
        )


async def event(stream: AsyncIterator[bytes]) -> tuple[str, Any]:
    text = (await asyncio.wait_for(anext(stream), 10)).decode()
    name, data, *rest = text.split("\n")
    assert rest == ["", ""]
    assert name.startswith("event: ")
    assert data.startswith("data: ")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_fifty_watchers_cost_the_broker_what_one_costs() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(feed.subscribe()) for _ in range(50)]
            for stream in streams:
                assert (await event(stream)) == ("history", [])
            seen = [[await event(stream) for _ in range(5)] for stream in streams[:1]]
            seen += [[await event(stream)] for stream in streams[1:]]
            assert all(name == "status" and data["ready"] for each in seen for name, data in each)
            assert 5 <= looks.count <= 7
            assert feed.streams == 50
        assert feed.streams == 0
        await asyncio.sleep(2 * EVERY_S)
        before = looks.count
        await asyncio.sleep(5 * EVERY_S)
        assert looks.count == before

    asyncio.run(go())


def test_a_page_that_is_opened_again_and_again_does_not_make_it_more() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(200):
            with feed.subscribe() as stream:
                await event(stream)
                await asyncio.sleep(0)
            if loop.time() - began > 10 * EVERY_S:
                break
        assert looks.count <= (loop.time() - began) / EVERY_S + 1

    asyncio.run(go())


def test_who_comes_later_gets_what_was_seen_and_at_once_the_newest() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        with feed.subscribe() as first:
            events = [await event(first) for _ in range(5)]
            with feed.subscribe() as second:
                name, samples = await event(second)
                assert name == "history"
                assert samples == [data["sample"] for _, data in events[2:]]  # the first look has nothing before it
                assert await event(second) == events[-1]
        assert samples[0]["queued"] == 3
        assert samples[0]["pairs"] == 10
        assert samples[0]["device"] == 0.5
        assert [one["at"] < two["at"] for one, two in itertools.pairwise(samples)] == [True, True]
        assert samples[1]["seconds"] == pytest.approx(samples[1]["at"] - samples[0]["at"])

    asyncio.run(go())


def test_there_are_so_many_places_and_no_more() -> None:
    async def go() -> None:
        feed = StatusFeed(Looks(), EVERY_S)
        with contextlib.ExitStack() as stack:
            last = contextlib.ExitStack()
            for _ in range(STREAMS - 1):
                stack.enter_context(feed.subscribe())
            last.enter_context(feed.subscribe())
            with pytest.raises(Overloaded, match="64 status pages are open"), feed.subscribe():
                pass
            last.close()
            with feed.subscribe() as stream:
                await event(stream)

    asyncio.run(go())


def test_a_broker_that_is_away_is_told_as_such_and_begins_anew() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        with feed.subscribe() as stream:
            await event(stream)
            await event(stream)
            looks.fault = Unavailable("nothing is listening")
            name, data = await event(stream)
            assert name == "status"
            assert (data["ready"], data["reason"], data["sample"]) == (False, "nothing is listening", None)
            assert data["processes"]["http"]["bytes"] > 1_000_000
            looks.fault = None
            assert (await event(stream))[1]["sample"] is None
            assert (await event(stream))[1]["sample"] is not None

    asyncio.run(go())


def test_a_fault_ends_the_streams_instead_of_leaving_them_silent() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        with feed.subscribe() as stream:
            await event(stream)
            await event(stream)
            looks.fault = RuntimeError("not foreseen")
            with pytest.raises(RuntimeError, match="not foreseen"):
                await event(stream)
        looks.fault = None
        with feed.subscribe() as stream:  # and the next one is served again
            await event(stream)
            assert (await event(stream))[0] == "status"

    asyncio.run(go())


def test_a_front_that_stops_ends_its_streams_and_opens_none() -> None:
    async def go() -> None:
        feed = StatusFeed(Looks(), EVERY_S)
        with feed.subscribe() as stream:
            await event(stream)
            await event(stream)
            feed.close()
            with pytest.raises(StopAsyncIteration):
                await event(stream)
        with pytest.raises(Unavailable, match="stopping"), feed.subscribe():
            pass

    asyncio.run(go())


def test_a_watcher_that_does_not_read_misses_looks_and_keeps_none_of_them() -> None:
    async def go() -> None:
        looks = Looks()
        feed = StatusFeed(looks, EVERY_S)
        with feed.subscribe() as slow, feed.subscribe() as quick:
            await event(slow)
            await event(slow)
            for _ in range(10):
                await event(quick)
            name, data = await event(slow)
            assert name == "status"
            assert data["uptime_s"] >= looks.count - 1  # the newest, not the next

    asyncio.run(go())
