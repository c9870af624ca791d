"""How much of callers' bodies may be in memory at once.

Small bodies have their own room, so that uploads do not delay a question. A large one waits for its turn,
unread, until all of it fits; one that would have to wait too long is refused.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from ..protocol.errors import Overloaded

#: A body up to this is small, bytes.
SMALL_BYTES = 256 << 10


class BodyRoom:
    """The bodies that are being read or answered.

    Invariant: what a ``Reservation`` holds is counted until it is left.

    Args:
        large_bytes: What all large bodies may have together.
        small_bytes: What all small ones may have.
        seconds: How long a large body may wait for room.
    """

    def __init__(self, large_bytes: int, small_bytes: int, seconds: float) -> None:
        self.large_bytes = large_bytes
        self.small_bytes = small_bytes
        self.seconds = seconds
        self.held = 0
        self.small_held = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.contextmanager
    def reservation(self) -> "Iterator[Reservation]":
        """Return a reservation for one request's body, which holds nothing yet."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.leave()

    def admit(self) -> None:
        """Admit waiting bodies, in order, as far as they fit."""
        while self.waiting and (self.waiting[0][1].done() or self.held + self.waiting[0][0] <= self.large_bytes):
            size, turn = self.waiting.popleft()
            if not turn.done():
                self.held += size
                turn.set_result(None)


class Reservation:
    """What one request holds of the room."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._large = 0
        self._small = 0

    async def take(self, size: int) -> None:
        """Hold ``size`` bytes, instead of what is held; wait for large room.

        Raises:
            Overloaded: There is no room in time.
        """
        room = self._room
        if size <= SMALL_BYTES:
            if room.small_held + size - self._small > room.small_bytes:
                raise Overloaded(
                    f"too many requests at once: their bodies together have over {room.small_bytes} bytes", 1000
                )
            room.small_held += size - self._small
            self._small = size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room.waiting.append((size, turn))
        room.admit()
        try:
            async with asyncio.timeout(room.seconds):
                await turn
        except TimeoutError:
            raise Overloaded(
                f"too many large requests at once: their bodies together have over {room.large_bytes} bytes", 1000
            ) from None
        finally:
            if turn.done() and not turn.cancelled():
                self._leave_small()
                self._large = size
            else:
                turn.cancel()
                room.admit()

    def shrink(self, size: int) -> None:
        """Hold no more than ``size`` bytes from now on."""
        if self._large > size:
            self._room.held -= self._large - size
            self._large = size
            self._room.admit()

    def leave(self) -> None:
        """Hold nothing."""
        self._leave_small()
        self.shrink(0)

    def _leave_small(self) -> None:
        self._room.small_held -= self._small
        self._small = 0
