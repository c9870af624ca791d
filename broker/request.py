"""One caller's request while the broker holds it: what waits, what is scored, how long it took.

A request is split into *rows*, each scored by itself: one for every document, and one more for every further window of
a document that the model cannot read at once. Only the worker can count tokens, so the windows of a document are known
when its first row is scored; they then wait like any other row. Row ``i`` is document ``i`` (or its first window) for
``i < len(documents)``; rows of windows follow. A document's score is its best row's.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ..protocol.client_messages import Scores, Served, Timings, WindowedDocument
from ..protocol.worker_messages import BatchResult, Window, WindowPlan
from .busy_union import BusyUnion

#: What a window's own row is read in.
ONE_WINDOW = WindowPlan()

#: Equal keys have equal logits: query, text, and how a long text is to be read.
RowKey = tuple[bytes, bytes, WindowPlan]


@dataclass(slots=True)
class DocumentScore:
    """What is known of a document so far; complete when ``rows_left`` is 0.

    Attributes:
        logit: The best row's.
        tokens: What the model read of it, special tokens included.
        truncated: The model did not read its end.
        windows: Rows it was read in.
        start: First byte of the best row.
        end: End of the best row, bytes; None: it was read whole in one window.
        rows_left: Rows without a logit yet.
    """

    logit: float = float("-inf")
    tokens: int = 0
    truncated: bool = False
    windows: int = 1
    start: int = 0
    end: int | None = None
    rows_left: int = 1


@dataclass(slots=True, eq=False)
class Request:
    """A request, split into rows.

    A row is *waiting* (in ``waiting``), *started* (in a batch, or queued to run alone), or *scored*.

    Attributes:
        peer: The connection it came by; with ``id``, its name.
        caller: Who is charged for it.
        stream: Which of the caller's streams it belongs to; they take turns within its share.
        texts: Each row's text: the documents, then the windows.
        lengths: Estimated tokens of each row.
        plan: How long documents are to be read.
        waiting: ``(estimated tokens, row)`` of rows not started, ascending.
        scores: What is known of each document.
        unscored: Documents that are not completely scored.
        cached: Documents answered from the score cache.
        digests: What each document's score is kept under in the cache; none where there is no cache.
        served: What scored the others; its busy time is that of all their batches.
        size: Bytes of its texts.
    """

    peer: bytes
    id: bytes
    caller: str
    bulk: bool
    query: bytes
    texts: list[bytes]
    lengths: list[int]
    plan: WindowPlan
    arrived: float
    deadline: float
    size: int
    stream: str = ""
    documents: int = field(init=False)
    waiting: list[tuple[int, int]] = field(init=False)
    scores: list[DocumentScore] = field(init=False)
    unscored: int = field(init=False)
    cached: int = 0
    digests: list[bytes] = field(default_factory=list)
    started: float | None = None
    inference_ms: float = 0.0
    served: Served | None = None
    done: bool = False
    _windows: list[tuple[int, Window]] = field(default_factory=list)  # of rows beyond the documents: which, and where
    _busy: BusyUnion = field(default_factory=BusyUnion)

    def __post_init__(self) -> None:
        self.documents = self.unscored = len(self.texts)
        self.waiting = sorted((length, row) for row, length in enumerate(self.lengths))
        self.scores = [DocumentScore() for _ in self.texts]

    # --- rows that wait -------------------------------------------------------------------------------

    def key(self, row: int) -> RowKey:
        """Return what the row's logit depends on."""
        return self.query, self.texts[row], self.plan if row < self.documents else ONE_WINDOW

    def document_of(self, row: int) -> int:
        """Return the index of the document a row belongs to."""
        return row if row < self.documents else self._windows[row - self.documents][0]

    def take_nearest(self, length: int | None) -> int:
        """Start the waiting row whose length is nearest to ``length`` (the longest for None); return it.

        A batch of similar lengths needs little padding. All rows are needed for the answer, so their order is free.
        """
        return self.waiting.pop(-1 if length is None else self._nearest(length))[1]

    def distance(self, length: int) -> int:
        """Return by how many tokens the waiting row nearest to ``length`` is longer or shorter."""
        return abs(self.waiting[self._nearest(length)][0] - length)

    def _nearest(self, length: int) -> int:
        above = bisect_right(self.waiting, (length, len(self.texts)))
        if above == len(self.waiting):
            return above - 1
        if above == 0:
            return 0
        return above if self.waiting[above][0] - length < length - self.waiting[above - 1][0] else above - 1

    def wait(self, row: int) -> None:
        """Let a row that was taken, or is new, wait."""
        insort(self.waiting, (self.lengths[row], row))

    def start(self, row: int) -> None:
        """Start a waiting row."""
        del self.waiting[bisect_left(self.waiting, (self.lengths[row], row))]

    # --- rows that are scored -------------------------------------------------------------------------

    def note_cached(self, document: int, score: DocumentScore) -> None:
        """Take a waiting document's whole score from the cache."""
        self.start(document)
        self.scores[document] = score
        self.unscored -= 1
        self.cached += 1

    def score(self, row: int, logit: float, tokens: int, windows: Sequence[Window], *, truncated: bool) -> range:
        """Note the logit of a started row.

        Args:
            row: The row.
            logit: Its logit.
            tokens: What the model read for it.
            windows: Of a document's own row: its windows, this one first, if it was not read whole in one.
            truncated: The end of the document is in none of them.

        Returns:
            The rows of the further windows; they are neither waiting nor started yet.
        """
        index = self.document_of(row)
        document = self.scores[index]
        document.tokens += tokens
        document.truncated = document.truncated or truncated
        document.rows_left -= 1
        further = windows[1:] if row < self.documents else ()
        if windows or row >= self.documents:
            here = windows[0] if row < self.documents else self._windows[row - self.documents][1]
            if document.end is None or logit > document.logit:
                document.logit, document.start, document.end = logit, here.start, here.end
        else:
            document.logit = logit
        first = len(self.texts)
        for window in further:
            self._windows.append((index, window))
            self.texts.append(self.texts[index][window.start : window.end])
            self.lengths.append(window.tokens)
        document.windows += len(further)
        document.rows_left += len(further)
        if not document.rows_left:
            self.unscored -= 1
        return range(first, len(self.texts))

    def charge(self, message: BatchResult, served: Served) -> None:
        """Note what a batch that held some of its rows took, and what served it."""
        self.inference_ms += message.inference_ms
        if message.npu_busy_delta_us is not None:
            self._busy.add(message.npu_busy_delta_us, message.npu_busy_total_us)
            served = msgspec.structs.replace(served, npu_busy_delta_us=self._busy.total_us)
        self.served = served

    def began_with_another(self, serves: Served) -> bool:
        """Return whether another model, device or precision than ``serves`` has scored some of its rows."""
        served = self.served
        return served is not None and (
            (served.model, served.device, served.precision) != (serves.model, serves.device, serves.precision)
        )

    # --- the answer -----------------------------------------------------------------------------------

    def answer(self, now: float) -> Scores:
        """Return the answer of a request whose documents are all scored; ``now`` is when it is given, s."""
        assert self.served is not None
        started = now if self.started is None else self.started
        return Scores(
            id=self.id,
            scores=[document.logit for document in self.scores],
            truncated=[index for index, document in enumerate(self.scores) if document.truncated],
            tokens=sum(document.tokens for document in self.scores),
            served=self.served,
            timings_ms=Timings(
                queue=round((started - self.arrived) * 1000, 3),
                inference=round(self.inference_ms, 3),
                total=round((now - self.arrived) * 1000, 3),
            ),
            windowed=[
                WindowedDocument(index, document.windows, document.start, document.end)
                for index, document in enumerate(self.scores)
                if document.end is not None
            ],
            cached=self.cached,
        )


#: The rows one computation answers: ``(request, row)`` each.
Entry = list[tuple[Request, int]]
