"""All pairs that wait, and how a batch is made of them.

A batch takes from everything that waits: pairs to be run alone first, then by turns, interactive callers
before bulk ones, except that after ``BULK_EVERY - 1`` batches in a row without it bulk goes first, so that
it is slow but never starved. Identical pairs are computed once: those that wait start together, and one that
arrives while an identical one is on the device joins it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from .batch_budget import BatchBudget
from .fair_queue import FairQueue
from .request import Entry, Request, RowKey

#: Every n-th batch starts with bulk work when both classes wait.
BULK_EVERY = 8


class IsolatedRetry(NamedTuple):
    """A pair that must run alone, because its batch was lost; ``implicated``: with a worker that failed."""

    entry: Entry
    implicated: bool


class PairQueue:
    """Requests with pairs that have not started.

    Invariant: the first of ``_isolated`` is a pair whose request is still wanted.
    """

    def __init__(self) -> None:
        self._interactive = FairQueue()
        self._bulk = FairQueue()
        self._isolated: deque[IsolatedRetry] = deque()
        # The waiting rows that have equal logits, as the keys of a dict (an ordered set), and those on the device.
        self._identical: dict[RowKey, dict[tuple[Request, int], None]] = {}
        self._started: dict[RowKey, Entry] = {}
        self._batches_without_bulk = 0
        #: Estimated tokens of the pairs that have not started.
        self.tokens = 0

    def __bool__(self) -> bool:
        return self.has_shared or self.has_isolated

    @property
    def has_shared(self) -> bool:
        """Whether pairs wait that may run with others."""
        return bool(self._interactive or self._bulk)

    @property
    def has_isolated(self) -> bool:
        """Whether a pair waits to be run alone."""
        return bool(self._isolated)

    @property
    def callers(self) -> int:
        """How many callers wait for a turn."""
        return self._interactive.callers + self._bulk.callers

    @property
    def interactive_only_tokens(self) -> int:
        """Tokens that wait, if all of them are interactive; 0 beside bulk, which must leave the device soon."""
        return 0 if self._bulk else self.tokens

    def add(self, request: Request, rows: Iterable[int]) -> int:
        """Let rows of a request wait, or join the computation of an identical one that has started already.

        The rows wait in the request already (``Request.waiting``). Returns how many have joined.
        """
        joined = 0
        for row in rows:
            key = request.key(row)
            if (entry := self._started.get(key)) is not None:
                request.start(row)
                entry.append((request, row))
                joined += 1
            else:
                self._identical.setdefault(key, {})[request, row] = None
                self.tokens += request.lengths[row]
        queue = self._class_of(request)
        if request.waiting and request not in queue:
            queue.add(request, first=request.started is not None)
        return joined

    def finish(self, entry: Entry) -> None:
        """Note that the computation of an entry has ended, successfully or not: no pair can join it any more."""
        self._started.pop(entry[0][0].key(entry[0][1]), None)

    def retry_isolated(self, entry: Entry, *, implicated: bool) -> None:
        """Let a pair whose batch was lost run again, in a batch of its own and before all others."""
        self._isolated.append(IsolatedRetry(entry, implicated))

    def remove(self, request: Request) -> int:
        """Forget a request, which is done; return how many of its documents had not started."""
        self._class_of(request).discard(request)
        for _, row in request.waiting:
            self._forget_duplicate(request, row)
        dropped = sum(row < request.documents for _, row in request.waiting)
        self.tokens -= sum(length for length, _ in request.waiting)
        request.waiting.clear()
        self._drop_unwanted()
        return dropped

    def take_isolated(self) -> IsolatedRetry:
        """Start the next pair that must run alone (``has_isolated``); for those only who still want it."""
        entry, implicated = self._isolated.popleft()
        self._drop_unwanted()
        return IsolatedRetry([pair for pair in entry if not pair[0].done], implicated)

    def _drop_unwanted(self) -> None:
        while self._isolated and all(request.done for request, _ in self._isolated[0].entry):
            self._isolated.popleft()

    def take(self, budget: BatchBudget, cost: Callable[[int], float]) -> list[Entry]:
        """Start a batch of pairs that spend the budget, at least one pair if any waits.

        Args:
            budget: What the batch may take.
            cost: Maps a pair's tokens to what the device runs for it, in padded tokens.
        """
        budget.extend_to_cover(map(cost, chain(self._interactive.lengths(), self._bulk.lengths())))
        bulk_first = bool(self._bulk) and self._batches_without_bulk >= BULK_EVERY - 1
        ordered = (self._bulk, self._interactive) if bulk_first else (self._interactive, self._bulk)
        entries: list[Entry] = []
        length: int | None = None
        had_bulk = False
        for queue in ordered:
            for request, index in queue.take(budget, length, cost):
                length = request.lengths[index] if length is None else length
                had_bulk = had_bulk or request.bulk
                entries.append(self._start_duplicates(request, index))
        self._batches_without_bulk = 0 if had_bulk or not self._bulk else self._batches_without_bulk + 1
        return entries

    def _start_duplicates(self, request: Request, row: int) -> Entry:
        """Start every waiting row identical to this one; return them all, this one first."""
        key = request.key(row)
        duplicates = self._identical.pop(key)
        del duplicates[request, row]
        self.tokens -= request.lengths[row]
        for other, place in duplicates:
            self.tokens -= other.lengths[place]
            other.start(place)
            if not other.waiting:
                self._class_of(other).discard(other)
        entry = [(request, row), *duplicates]
        self._started[key] = entry
        return entry

    def _forget_duplicate(self, request: Request, row: int) -> None:
        key = request.key(row)
        duplicates = self._identical[key]
        del duplicates[request, row]
        if not duplicates:
            del self._identical[key]

    def _class_of(self, request: Request) -> FairQueue:
        return self._bulk if request.bulk else self._interactive
