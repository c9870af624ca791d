"""Whose turn it is: deficit round-robin over callers, by estimated tokens (Shreedhar & Varghese 1995).

Each caller in turn may start pairs worth ``QUANTUM`` tokens; what it does not use up because the batch is
full it keeps for when its turn goes on. So the share of a caller does not depend on how large its requests
are or how many it has. Within a caller requests go first come, first served.

Law of this file: a caller is in the ring exactly while it has waiting pairs.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .request import Request

#: Tokens a caller may start per turn: about one long pair, or five usual ones.
QUANTUM = 512


@dataclass(slots=True, eq=False)
class _Caller:
    requests: dict[tuple[bytes, bytes], Request] = field(default_factory=dict)
    credit: float = 0.0


class Turns:
    """The waiting requests of one priority class, by caller."""

    def __init__(self) -> None:
        self._ring: deque[str] = deque()
        self._callers: dict[str, _Caller] = {}

    def __bool__(self) -> bool:
        return bool(self._ring)

    @property
    def callers(self) -> int:
        """How many callers wait."""
        return len(self._ring)

    def add(self, request: Request) -> None:
        """Let a request with waiting pairs wait for its caller's turns."""
        caller = self._callers.get(request.caller)
        if caller is None:
            caller = self._callers[request.caller] = _Caller()
            self._ring.append(request.caller)
        caller.requests[request.peer, request.id] = request

    def discard(self, request: Request) -> None:
        """Take a request out: it has no waiting pairs any more, or nobody wants it."""
        caller = self._callers.get(request.caller)
        if caller is None or caller.requests.pop((request.peer, request.id), None) is None:
            return
        if not caller.requests:
            del self._callers[request.caller]
            self._ring.remove(request.caller)

    def take(self, room: float, length: int | None, cost: Callable[[int], float]) -> Iterator[tuple[Request, int]]:
        """Start waiting pairs in turn until they cost ``room``; the first is given even if it costs more.

        Args:
            room: What may be spent, in padded tokens.
            length: The batch's length so far, tokens; None when it is empty (then its first pair sets it).
            cost: What the device runs for a pair of so many tokens.
        """
        first = length is None
        while self._ring:
            caller = self._callers[self._ring[0]]
            if caller.credit <= 0:
                caller.credit += QUANTUM
            while caller.requests and caller.credit > 0:
                request = next(iter(caller.requests.values()))
                index = request.take_nearest(length)
                price = cost(request.lengths[index])
                if price > room and not first:
                    request.put_back(index)
                    return
                first = False
                room -= price
                caller.credit -= price
                length = request.lengths[index] if length is None else length
                yield request, index
                if not request.waiting:
                    self.discard(request)
            if self._ring and self._callers.get(self._ring[0]) is caller:
                self._ring.rotate(-1)
