"""The status as a stream of server-sent events: one query a second for all watchers, none without one."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any

import msgspec

from ..client.activity import RecentActivity
from ..protocol.errors import Overloaded, RerankError, Unavailable
from ..protocol.status_messages import Status
from .status_report import report

#: Between two queries, s.
EVERY_S = 1.0
#: The most streams.
STREAMS = 64
#: How many samples are kept for later watchers: five minutes.
_REMEMBERED = 300


class StatusFeed:
    """All streams of one front.

    Each begins with ``history``, the samples of the last minutes while there was a watcher, and continues
    with ``status`` once a second. A watcher that reads slowly misses samples and delays nobody.

    Args:
        look: Asks the broker for its status.
        every_s: Time from one look to the next, s.
    """

    def __init__(self, look: Callable[[], Awaitable[Status]], every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._streams = 0
        self._watch: asyncio.Task[None] | None = None
        self._closed = False
        self._activity = RecentActivity()
        self._seen_at: float | None = None  # when the broker last answered
        self._samples: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self._latest = b""
        self._latest_at = float("-inf")
        self._news = asyncio.Event()  # set, and replaced, at each look

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    def close(self) -> None:
        """End all streams: the front stops."""
        self._closed = True
        self._publish()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[bytes]]:
        """Return the events of one stream; its place is free again at the end.

        Raises:
            Overloaded: There is no place.
            Unavailable: The front stops.
        """
        if self._closed:
            raise Unavailable("the HTTP front is stopping")
        if self._streams >= STREAMS:
            raise Overloaded(f"{STREAMS} status pages are open, which is the limit; close one", 5000)
        self._streams += 1
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_broker())
        try:
            yield self._events()
        finally:
            self._streams -= 1

    async def _events(self) -> AsyncIterator[bytes]:
        now = time.monotonic()
        recent = [sample for sample in self._samples if now - sample["at"] <= _REMEMBERED * self._every_s]
        yield _event("history", recent)
        news, fresh = self._news, now - self._latest_at < 1.5 * self._every_s
        while not self._closed:
            if fresh:
                yield self._latest
            await news.wait()
            news, fresh = self._news, True
            if self._watch is not None and self._watch.done():
                self._watch.result()  # it does not end by itself while anybody watches, so this raises

    async def _watch_broker(self) -> None:
        try:
            while self._streams:
                await asyncio.sleep(max(0.0, self._latest_at + self._every_s - time.monotonic()))
                if self._streams:
                    self._latest_at, self._latest = time.monotonic(), await self._next()
                    self._publish()
        finally:
            self._publish()

    async def _next(self) -> bytes:
        at = round(time.monotonic(), 3)
        try:
            status = await self._look()
        except RerankError as error:
            self._activity.forget()
            self._seen_at = None
            return _event("status", report(error) | {"at": at, "sample": None})
        activity, before = self._activity.note(status), self._seen_at
        self._seen_at = at
        sample = None
        if activity is not None and before is not None:
            sample = {"at": at, "seconds": round(at - before, 3), "queued": status.queue.pairs} | asdict(activity)
            self._samples.append(sample)
        return _event("status", report(status) | {"at": at, "sample": sample})

    def _publish(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
