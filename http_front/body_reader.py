"""Reading a request's body: within bounds of bytes and time, and as room allows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from ..protocol.errors import InvalidRequest, TooLarge
from ..protocol.limits import DEFAULT_LIMITS
from .body_room import SMALL_BYTES, BodyRoom, Reservation
from .content_encoding import is_gzip
from .errors import HttpError

#: The longest body: all texts of the largest request, with room for JSON's quoting.
BODY_BYTES = 2 * DEFAULT_LIMITS.request_bytes + (1 << 20)
#: All large bodies that are being read or answered.
LARGE_BODIES_BYTES = 2 * BODY_BYTES
#: All small ones.
SMALL_BODIES_BYTES = 32 << 20
#: How long a caller may send nothing of a body, and a large body may wait for room, s: less than a stopping front
#: waits.
BODY_S = 8.0
#: The slowest a body may arrive overall, bytes/s, once those seconds have passed.
_LEAST_RATE = 1 << 20
#: How long to check once more for bytes that arrived while this process was busy, s.
_SECOND_LOOK_S = 0.05


@dataclass(slots=True)
class Body:
    """A body as it was sent, and its reservation in memory."""

    data: bytearray
    gzip: bool
    reservation: Reservation


class BodyReader:
    """Reads bodies.

    Args:
        room: Where they are kept.
        most_bytes: The longest body.
        seconds: How long a caller may send nothing.
    """

    def __init__(self, room: BodyRoom, most_bytes: int = BODY_BYTES, seconds: float = BODY_S) -> None:
        self._room = room
        self._most_bytes = most_bytes
        self._seconds = seconds

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Body]:
        """Read a request's body; it is counted until the context ends.

        Raises:
            TooLarge: It is over the bound; said before anything is read where ``Content-Length`` says so.
            Overloaded: There was no room for it in time.
            InvalidRequest: Its length is given in two ways.
            HttpError: 408, the rest of it did not arrive in time; 415.
            ClientDisconnect: The caller went away.
        """
        gzip = is_gzip(request.headers.get("content-encoding", ""))
        announced = request.headers.get("content-length", "")
        if announced and "transfer-encoding" in request.headers:
            # The length would be wrong, and who forwards requests may believe it (RFC 9112, section 6.3).
            raise InvalidRequest("a request has either a Content-Length or a Transfer-Encoding, not both")
        size = int(announced) if announced.isdecimal() else 0
        if size > self._most_bytes:
            raise TooLarge(f"the body has {announced} bytes; the limit is {self._most_bytes}")
        with self._room.reservation() as reservation:
            await reservation.take(self._most_bytes if gzip else size or SMALL_BYTES)
            yield Body(await self._receive(request, reservation, size), gzip, reservation)

    async def _receive(self, request: Request, reservation: Reservation, announced: int) -> bytearray:
        clock = asyncio.get_running_loop().time
        started = clock()
        data = bytearray()
        while True:
            allowed = started + self._seconds + len(data) / _LEAST_RATE
            message = await _within(request.receive(), min(self._seconds, allowed - clock()))
            if message is None:
                raise HttpError(
                    408,
                    "request_timeout",
                    f"the body did not arrive in time: {len(data)} bytes received after {clock() - started:.1f} s",
                )
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            data += message.get("body", b"")
            if len(data) > self._most_bytes:
                raise TooLarge(f"the body has more than {self._most_bytes} bytes")
            if not message.get("more_body", False):
                return data
            if not announced and len(data) > SMALL_BYTES:  # it comes in chunks, and may be any length
                await reservation.take(announced := self._most_bytes)


async def _within(receiving: Awaitable[Message], seconds: float) -> Message | None:
    """Return the next message, or None if there is none in time; bytes that arrived unseen meanwhile are not late."""
    task = asyncio.ensure_future(receiving)
    try:
        for limit in (seconds, _SECOND_LOOK_S):
            done, _ = await asyncio.wait({task}, timeout=max(0.0, limit))
            if done:
                return task.result()
        return None
    finally:
        task.cancel()
