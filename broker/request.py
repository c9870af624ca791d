"""One caller's request while the broker holds it: what waits, what is scored, what it took."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

import msgspec

from ..protocol.messages import BatchResult, Served, Timings
from .busy_union import BusyUnion


@dataclass(slots=True, eq=False)
class Request:
    """A request, split into pairs (query, document).

    A pair is *waiting* (in ``waiting``), *started* (in a batch, or queued to run alone), or *scored*.

    Attributes:
        peer: The connection it came by; with ``id``, its name.
        caller: Who is charged for it.
        lengths: Estimated tokens of each pair.
        waiting: ``(estimated tokens, index)`` of pairs not started, ascending.
        unscored: Pairs without a logit yet.
        served: What scored the others; its busy time is that of all their batches.
        size: Bytes of its texts.
    """

    peer: bytes
    id: bytes
    caller: str
    bulk: bool
    query: bytes
    documents: list[bytes]
    lengths: list[int]
    arrived: float
    deadline: float
    size: int
    waiting: list[tuple[int, int]] = field(init=False)
    logits: list[float] = field(init=False)
    unscored: int = field(init=False)
    truncated: list[int] = field(default_factory=list)
    tokens: int = 0
    started: float | None = None
    inference_ms: float = 0.0
    served: Served | None = None
    done: bool = False
    _busy: BusyUnion = field(default_factory=BusyUnion)

    def __post_init__(self) -> None:
        self.waiting = sorted((length, index) for index, length in enumerate(self.lengths))
        self.logits = [0.0] * len(self.documents)
        self.unscored = len(self.documents)

    def take_nearest(self, length: int | None) -> int:
        """Start the waiting pair whose length is nearest to ``length`` (the longest for None); return its index.

        A batch of like lengths pads little. All pairs are needed for the answer, so their order is free.
        """
        return self.waiting.pop(-1 if length is None else self._nearest(length))[1]

    def distance(self, length: int) -> int:
        """Return by how many tokens the waiting pair nearest to ``length`` is longer or shorter."""
        return abs(self.waiting[self._nearest(length)][0] - length)

    def _nearest(self, length: int) -> int:
        above = bisect_right(self.waiting, (length, len(self.documents)))
        if above == len(self.waiting):
            return above - 1
        if above == 0:
            return 0
        return above if self.waiting[above][0] - length < length - self.waiting[above - 1][0] else above - 1

    def put_back(self, index: int) -> None:
        """Let a pair that was taken wait again."""
        insort(self.waiting, (self.lengths[index], index))

    def start(self, index: int) -> None:
        """Start the waiting pair ``index``."""
        del self.waiting[bisect_left(self.waiting, (self.lengths[index], index))]

    def score(self, index: int, logit: float, tokens: int, truncated: bool) -> None:
        """Note the logit of a started pair."""
        self.logits[index] = logit
        self.tokens += tokens
        self.unscored -= 1
        if truncated:
            self.truncated.append(index)

    def charge(self, message: BatchResult, served: Served) -> None:
        """Note what a batch that held some of its pairs took, and what served it."""
        self.inference_ms += message.inference_ms
        if message.npu_busy_delta_us is not None:
            self._busy.add(message.npu_busy_delta_us, message.npu_busy_total_us)
            served = msgspec.structs.replace(served, npu_busy_delta_us=self._busy.total_us)
        self.served = served

    def timings(self, now: float) -> Timings:
        """Return where the time went, ms; ``now`` is when it is answered."""
        started = now if self.started is None else self.started
        return Timings(
            queue=round((started - self.arrived) * 1000, 3),
            inference=round(self.inference_ms, 3),
            total=round((now - self.arrived) * 1000, 3),
        )


#: The pairs one computation answers: ``(request, index)`` each.
Entry = list[tuple[Request, int]]
