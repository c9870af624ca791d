"""Whose turn it is: deficit round-robin over callers, by estimated tokens (Shreedhar & Varghese 1995), with filling.

The caller whose turn it is starts a pair in every batch until it has spent its ``QUANTUM``; around that pair
the batch is filled with the waiting pairs nearest to it in length, whoever's they are, because a batch of
similar lengths needs little padding. A caller that is served out of turn pays for it when its turn comes, and may be
``ADVANCE`` tokens ahead at most. So the share of a caller does not depend on how large its requests are or
how many it has. A caller that waits for each answer before it asks again is absent for a batch or two in between:
what it missed is made up for when it returns, up to ``CATCH_UP``.

Within a caller, requests of one stream go first come, first served, and streams take turns by start-time fair
queueing (Goyal, Vin & Cheng 1996): a request starts, in the caller's own time, where the stream's request before
it ends, or now if that is later; the one that starts first is served first.

Invariants:

1. A caller is in the ring exactly while it has waiting pairs.
2. Between two callers that wait all the time, what they were given differs by at most ``QUANTUM + ADVANCE``
   and a pair: a caller has had a quantum for each of its turns, less its credit, which is never less than
   ``-ADVANCE`` and a pair, and more than 0 only in its turn; and by ``CATCH_UP`` more right after one came back.
"""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from .batch_budget import BatchBudget
from .request import Request

#: Tokens a caller may start per turn: about one long pair, or five usual ones.
QUANTUM = 512
#: Tokens a caller may have been given before its turn.
ADVANCE = 512
#: Tokens a caller that was away may have missed and still be given: two batches of a slow device.
CATCH_UP = 1024
#: Absent callers that are remembered.
_REMEMBERED = 1024
#: Callers that a batch is filled from, those whose turn is next: a bound on the work per pair.
_COMPANY = 16


#: When a request starts in its caller's own time (tokens), and its place among those that start together.
_Start = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Caller:
    credit: float = 0.0
    starts: dict[tuple[bytes, bytes], _Start] = field(default_factory=dict)
    ordered: list[tuple[_Start, Request]] = field(default_factory=list)
    stream_ends: dict[str, int] = field(default_factory=dict)  # of each stream's last request
    arrivals: int = 0

    @property
    def next(self) -> Request:
        return self.ordered[0][1]

    def add(self, request: Request, *, first: bool) -> None:
        now = self.ordered[0][0][0] if self.ordered else 0
        follows = max(now, self.stream_ends.get(request.stream, 0))
        if len(self.stream_ends) > 2 * len(self.ordered) + 16:
            self._forget_streams(now)
        self.stream_ends[request.stream] = follows + sum(length for length, _ in request.waiting)
        self.arrivals += 1
        start = (now, -self.arrivals) if first else (follows, self.arrivals)
        self.starts[request.peer, request.id] = start
        insort(self.ordered, (start, request), key=_start_of)

    def _forget_streams(self, now: int) -> None:
        """Forget the ends that have passed; if that is not enough, those of all streams that do not wait."""
        self.stream_ends = {stream: end for stream, end in self.stream_ends.items() if end > now}
        if len(self.stream_ends) > len(self.ordered) + 16:
            waiting = {request.stream for _, request in self.ordered}
            self.stream_ends = {stream: end for stream, end in self.stream_ends.items() if stream in waiting}

    def discard(self, request: Request) -> None:
        start = self.starts.pop((request.peer, request.id), None)
        if start is not None:
            del self.ordered[bisect_left(self.ordered, start, key=_start_of)]


def _start_of(entry: tuple[_Start, Request]) -> _Start:
    return entry[0]


class FairQueue:
    """The waiting requests of one priority class, by caller."""

    def __init__(self) -> None:
        self._ring: deque[str] = deque()
        self._callers: dict[str, _Caller] = {}
        self._turn_begun = False  # whether the first of the ring has been given its quantum
        self._granted = 0.0  # tokens that one caller more would have had for its turns
        # What each caller that left owed (as a credit, not more than 0), less _granted at that time.
        self._away: OrderedDict[str, float] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._ring)

    def __contains__(self, request: Request) -> bool:
        caller = self._callers.get(request.caller)
        return caller is not None and (request.peer, request.id) in caller.starts

    @property
    def callers(self) -> int:
        """How many callers wait."""
        return len(self._ring)

    def lengths(self) -> Iterator[int]:
        """Yield the estimated length of every waiting pair, tokens."""
        for caller in self._callers.values():
            for _, request in caller.ordered:
                for length, _ in request.waiting:
                    yield length

    def add(self, request: Request, *, first: bool = False) -> None:
        """Let a request with waiting pairs wait for its caller's turns; ``first``: before the caller's others."""
        caller = self._callers.get(request.caller)
        if caller is None:
            owed = min(CATCH_UP, self._away.pop(request.caller, -self._granted) + self._granted)
            caller = self._callers[request.caller] = _Caller(owed)
            self._ring.append(request.caller)
        caller.add(request, first=first)

    def discard(self, request: Request) -> None:
        """Take a request out: it has no waiting pairs any more, or nobody wants it."""
        caller = self._callers.get(request.caller)
        if caller is None:
            return
        caller.discard(request)
        if not caller.ordered:
            del self._callers[request.caller]
            self._away[request.caller] = min(caller.credit, 0.0) - self._granted
            if len(self._away) > _REMEMBERED:
                self._away.popitem(last=False)
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
            cost: Maps a pair's tokens to what the device runs for it, in padded tokens.
        """
        lead = True
        while self._ring:
            caller = self._whose_turn() if lead or length is None else self._nearest(length)
            lead = caller is None  # nobody may be given more, so the next turn begins
            if caller is None:
                continue
            request = caller.next
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
                self._granted += QUANTUM / (len(self._ring) + 1)
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
                distance = caller.next.distance(length)
                if best is None or distance < least:
                    best, least = caller, distance
        return best
