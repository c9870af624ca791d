"""All pairs that wait, and how a batch is made of them.

A batch takes from everything that waits: pairs to be run alone first, then by turns, interactive callers
before bulk ones, except that after ``BULK_EVERY - 1`` batches in a row without it bulk goes first, so that
it is slow but never starved. Identical pairs that wait at the same moment are started together and computed
once.
"""

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from .batch_budget import BatchBudget
from .fair_queue import FairQueue
from .request import Entry, Request

#: One batch in so many starts with bulk work when both classes wait.
BULK_EVERY = 8


class IsolatedRetry(NamedTuple):
    """What must run alone, because its batch was lost; ``suspect``: with a worker that failed."""

    entry: Entry
    suspect: bool


class PairQueue:
    """Requests with pairs that have not started."""

    def __init__(self) -> None:
        self._interactive = FairQueue()
        self._bulk = FairQueue()
        self._alone: deque[IsolatedRetry] = deque()
        # By (query, document): the waiting pairs, as the keys of a dict (an ordered set).
        self._identical: dict[tuple[bytes, bytes], dict[tuple[Request, int], None]] = {}
        self._batches_without_bulk = 0
        #: Estimated tokens of the pairs that have not started.
        self.tokens = 0

    def __bool__(self) -> bool:
        return bool(self._interactive or self._bulk or self.some_alone)

    @property
    def some_in_turns(self) -> bool:
        """Whether pairs wait that may run with others."""
        return bool(self._interactive or self._bulk)

    @property
    def callers(self) -> int:
        """How many callers wait for a turn."""
        return self._interactive.callers + self._bulk.callers

    @property
    def some_alone(self) -> bool:
        """Whether a pair that somebody still wants waits to be run alone."""
        while self._alone:
            entry = self._alone[0].entry
            while entry and entry[-1][0].done:
                entry.pop()
            if entry:
                return True
            self._alone.popleft()
        return False

    def add(self, request: Request) -> None:
        """Let all pairs of a new request wait."""
        self._turns(request).add(request)
        self.tokens += sum(request.lengths)
        for index, document in enumerate(request.documents):
            self._identical.setdefault((request.query, document), {})[request, index] = None

    def retry_alone(self, entry: Entry, *, suspect: bool) -> None:
        """Let a pair whose batch was lost run again, in a batch of its own and before all others."""
        self._alone.append(IsolatedRetry(entry, suspect))

    def remove(self, request: Request) -> int:
        """Forget a request, which is done; return how many of its pairs had not started."""
        self._turns(request).discard(request)
        for _, index in request.waiting:
            self._forget_twin(request, index)
        dropped = len(request.waiting)
        self.tokens -= sum(length for length, _ in request.waiting)
        request.waiting.clear()
        return dropped

    def take_alone(self) -> IsolatedRetry | None:
        """Start the next pair that must run alone, if any; for those only who still want it."""
        if not self.some_alone:
            return None
        entry, suspect = self._alone.popleft()
        return IsolatedRetry([pair for pair in entry if not pair[0].done], suspect)

    def take(self, budget: BatchBudget, cost: Callable[[int], float]) -> list[Entry]:
        """Start a batch of pairs that fill the budget, at least one pair if any waits.

        Args:
            budget: What the batch holds, in padded tokens.
            cost: What the device runs for a pair of so many tokens, in padded tokens.
        """
        budget.widen_for(map(cost, chain(self._interactive.lengths(), self._bulk.lengths())))
        bulk_first = bool(self._bulk) and self._batches_without_bulk >= BULK_EVERY - 1
        ordered = (self._bulk, self._interactive) if bulk_first else (self._interactive, self._bulk)
        entries: list[Entry] = []
        length: int | None = None
        had_bulk = False
        for turns in ordered:
            for request, index in turns.take(budget, length, cost):
                length = request.lengths[index] if length is None else length
                had_bulk = had_bulk or request.bulk
                entries.append(self._start_twins(request, index))
        self._batches_without_bulk = 0 if had_bulk or not self._bulk else self._batches_without_bulk + 1
        return entries

    def _start_twins(self, request: Request, index: int) -> Entry:
        """Start every waiting pair identical to this one; return them all, this one first."""
        twins = self._identical.pop((request.query, request.documents[index]))
        del twins[request, index]
        self.tokens -= request.lengths[index]
        for other, place in twins:
            self.tokens -= other.lengths[place]
            other.start(place)
            if not other.waiting:
                self._turns(other).discard(other)
        return [(request, index), *twins]

    def _forget_twin(self, request: Request, index: int) -> None:
        key = (request.query, request.documents[index])
        twins = self._identical[key]
        del twins[request, index]
        if not twins:
            del self._identical[key]

    def _turns(self, request: Request) -> FairQueue:
        return self._bulk if request.bulk else self._interactive
