"""Whose turn it is: deficit round-robin over callers, by estimated tokens (Shreedhar & Varghese 1995), with company.

The caller whose turn it is starts a pair in every batch until it has spent its ``QUANTUM``; around that pair
the batch is filled with the waiting pairs nearest to it in length, whoever's they are, because a batch of
like lengths pads little. A caller that is served out of turn pays for it when its turn comes, and may be
``ADVANCE`` tokens ahead at most. So the share of a caller does not depend on how large its requests are or
how many it has. Within a caller requests go first come, first served.

Laws of this file:

1. A caller is in the ring exactly while it has waiting pairs.
2. Between two callers that wait all the time, what they were given differs by at most ``QUANTUM + ADVANCE``
   and a pair: a caller has had a quantum for each of its turns, less its credit, which is never less than
   ``-ADVANCE`` and a pair, and more than 0 only in its turn.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from .batch_budget import BatchBudget
from .request import Request

#: Tokens a caller may start per turn: about one long pair, or five usual ones.
QUANTUM = 512
#: Tokens a caller may have been given before its turn.
ADVANCE = 512
#: A batch is filled from so many callers, those whose turn is next: a bound on the work per pair.
_COMPANY = 16


@dataclass(slots=True, eq=False)
class _Caller:
    requests: dict[tuple[bytes, bytes], Request] = field(default_factory=dict)
    credit: float = 0.0

    @property
    def oldest(self) -> Request:
        return next(iter(self.requests.values()))


class FairQueue:
    """The waiting requests of one priority class, by caller."""

    def __init__(self) -> None:
        self._ring: deque[str] = deque()
        self._callers: dict[str, _Caller] = {}
        self._turn_begun = False  # whether the first of the ring has been given its quantum

    def __bool__(self) -> bool:
        return bool(self._ring)

    def __contains__(self, request: Request) -> bool:
        caller = self._callers.get(request.caller)
        return caller is not None and (request.peer, request.id) in caller.requests

    @property
    def callers(self) -> int:
        """How many callers wait."""
        return len(self._ring)

    def lengths(self) -> Iterator[int]:
        """Yield the estimated length of every waiting pair, tokens."""
        for caller in self._callers.values():
            for request in caller.requests.values():
                for length, _ in request.waiting:
                    yield length

    def add(self, request: Request, *, first: bool = False) -> None:
        """Let a request with waiting pairs wait for its caller's turns; ``first``: before the caller's others."""
        caller = self._callers.get(request.caller)
        if caller is None:
            caller = self._callers[request.caller] = _Caller()
            self._ring.append(request.caller)
        if first:
            caller.requests = {(request.peer, request.id): request} | caller.requests
        else:
            caller.requests[request.peer, request.id] = request

    def discard(self, request: Request) -> None:
        """Take a request out: it has no waiting pairs any more, or nobody wants it."""
        caller = self._callers.get(request.caller)
        if caller is None or caller.requests.pop((request.peer, request.id), None) is None:
            return
        if not caller.requests:
            del self._callers[request.caller]
            if self._ring[0] == request.caller:
                self._turn_begun = False
            self._ring.remove(request.caller)

    def take(
        self, budget: BatchBudget, length: int | None, cost: Callable[[int], float]
    ) -> Iterator[tuple[Request, int]]:
        """Start waiting pairs until the budget is spent.

        Args:
            budget: What the batch may still take.
            length: The batch's length so far, tokens; None when it is empty (then its first pair sets it).
            cost: What the device runs for a pair of so many tokens, in padded tokens.
        """
        lead = True
        while self._ring:
            caller = self._whose_turn() if lead or length is None else self._nearest(length)
            lead = caller is None  # nobody may be given more, so the next turn begins
            if caller is None:
                continue
            request = caller.oldest
            index = request.take_nearest(length)
            price, size = cost(request.lengths[index]), len(request.query) + len(request.texts[index])
            if not budget.admits(price, size):
                request.wait(index)
                return
            budget.add(price, size)
            caller.credit -= price
            if length is None:
                length = request.lengths[index]
            yield request, index
            if not request.waiting:
                self.discard(request)

    def _whose_turn(self) -> _Caller:
        """Return the caller whose turn it is; give a quantum to each whose turn begins on the way there."""
        while True:
            caller = self._callers[self._ring[0]]
            if not self._turn_begun:
                self._turn_begun = True
                caller.credit += QUANTUM
            if caller.credit > 0:
                return caller
            self._ring.rotate(-1)
            self._turn_begun = False

    def _nearest(self, length: int) -> _Caller | None:
        """Return who, of those that may be given more, has the pair nearest to ``length``; None if nobody may."""
        best: _Caller | None = None
        least = 0
        for name in islice(self._ring, _COMPANY):
            caller = self._callers[name]
            if caller.credit > -ADVANCE:
                distance = caller.oldest.distance(length)
                if best is None or distance < least:
                    best, least = caller, distance
        return best
