"""A request's life in the broker: accepted or refused, scored pair by pair, answered exactly once or forgotten.

Invariants:

1. An accepted request leaves ``table``, ``queue`` and ``admission`` together, in ``_forget``.
2. Nothing but ``_answer`` sends an answer to it, and ``_answer`` forgets it; or it is forgotten because its
   caller went away or cancelled it.
"""

from collections.abc import Callable
from math import isfinite

import msgspec

from ..protocol.client_messages import Refusal, Rerank, Served
from ..protocol.errors import DeadlineExceeded, Failed, InvalidRequest, RerankError, Unavailable, error_from_code
from ..protocol.limits import Limits
from ..protocol.status_messages import CallerStatus, QueueStatus
from ..protocol.worker_messages import BatchResult, WindowPlan
from .actions import Action, ToClient
from .admission import Admission, flaw
from .caller_shares import CallerShares
from .counters import Counters
from .pair_queue import PairQueue
from .peer import Peer
from .request import Request
from .request_table import RequestTable
from .score_cache import ScoreCache
from .throughput import ThroughputEstimator
from .worker_session import InFlight


class RequestLifecycle:
    """Every request from acceptance to answer. See the laws above.

    Args:
        limits: The bounds.
        counters: What happened is counted there.
        queue: Where accepted pairs wait.
        cache: What was scored before.
        actions: Answers are appended there.
        plan: How long documents are read when a request does not say.
        now: The time, s.
    """

    def __init__(
        self,
        limits: Limits,
        counters: Counters,
        queue: PairQueue,
        cache: ScoreCache,
        actions: list[Action],
        plan: WindowPlan,
        now: float,
    ) -> None:
        self.cache = cache
        self._shares = CallerShares(now)
        self._plan = plan
        self.table = RequestTable()
        self.admission = Admission(limits)
        self._queue = queue
        self._limits = limits
        self._counters = counters
        self._actions = actions

    def __len__(self) -> int:
        return len(self.table)

    def status(self) -> QueueStatus:
        """Return what status pages show of what waits."""
        return QueueStatus(len(self.table), self.admission.pairs, self.admission.bytes, self._queue.callers)

    def callers(self, now: float) -> list[CallerStatus]:
        """Return the busiest callers, as status pages show them."""
        return self._shares.report(now, self.admission.waiting)

    # --- coming in ------------------------------------------------------------------------------------

    def accept(
        self,
        peer: Peer,
        message: Rerank,
        throughput: ThroughputEstimator,
        closed: Unavailable | None,
        served: Served | None,
        now: float,
    ) -> None:
        """Accept a request or refuse it.

        Args:
            peer: The connection it came by.
            message: The request.
            throughput: What is known of lengths and speed.
            closed: Why none is accepted now, if that is so.
            served: What serves now, if anything: the score cache answers for it.
            now: The time, s.
        """
        if self.table.get(peer.identity, message.id) is not None:
            return  # the same id twice on one connection: the first is still being served
        caller, stream = peer.charged(message)
        size = len(message.query) + sum(map(len, message.documents))
        if (refusal := self._refusal(caller, stream, message, throughput, closed)) is not None:
            self._refuse(peer.identity, message.id, refusal)
            return
        deadline_ms = message.deadline_ms or self._limits.default_deadline_ms
        request = Request(
            peer=peer.identity,
            id=message.id,
            caller=caller,
            stream=stream,
            bulk=message.priority == "bulk",
            query=message.query,
            texts=list(message.documents),  # windows will be added
            lengths=[throughput.length(len(message.query) + len(document)) for document in message.documents],
            plan=WindowPlan(message.max_windows or self._plan.max_windows, message.window_stride or self._plan.stride),
            arrived=now,
            deadline=now + min(deadline_ms, self._limits.max_deadline_ms) / 1000,
            size=size,
        )
        self._counters.requests += 1
        self._counters.pairs += request.documents
        self.table.add(request)
        self.admission.enter(caller, stream, request.documents, size)
        self._shares.note([(caller, 0)], now)
        if self.cache.enabled:
            self._take_from_cache(request, served if message.use_cache else None)
        joined = self._queue.add(request, [row for _, row in request.waiting])
        self._counters.joined_pairs += joined
        if joined:
            request.started = now  # with the pairs of others that are on the device already
        self.admission.leave(caller, stream, request.cached + joined, 0)
        if not request.unscored:
            self._answer(request, None, now)

    def _take_from_cache(self, request: Request, served: Served | None) -> None:
        request.digests = [self.cache.digest(request.key(row)) for row in range(request.documents)]
        if served is None:
            return
        for row, digest in enumerate(request.digests):
            if (score := self.cache.get(digest)) is not None:
                request.note_cached(row, score)
        self._counters.cached_pairs += request.cached
        if request.cached:
            # On the NPU none of its busy time is theirs; what the device does for the others is added.
            busy = 0 if served.device == "NPU" else None
            request.served = msgspec.structs.replace(served, npu_busy_delta_us=busy)

    def _refusal(
        self, caller: str, stream: str, message: Rerank, throughput: ThroughputEstimator, closed: Unavailable | None
    ) -> RerankError | None:
        if (wrong := flaw(message, self._limits)) is not None:
            self._counters.refused_invalid += 1
            return wrong
        if closed is not None:
            self._counters.refused_unavailable += 1
            return closed
        size = len(message.query) + sum(map(len, message.documents))
        retry_after_ms = throughput.wait_ms(self._queue.tokens)
        overload = self.admission.refusal(caller, stream, len(message.documents), size, retry_after_ms)
        if overload is not None:
            self._counters.refused_overloaded += 1
        return overload

    # --- on the device --------------------------------------------------------------------------------

    def start(self, batch: InFlight, now: float) -> None:
        """Note that a batch goes to the worker."""
        for entry in batch.entries:
            for request, row in entry:
                if request.started is None:
                    request.started = now
                if not batch.isolated and row < request.documents:
                    self.admission.leave(request.caller, request.stream, 1, 0)
        self._counters.note_batch(batch.entries)

    def score(self, batch: InFlight, message: BatchResult, served: Served, now: float) -> None:
        """Note a batch's logits and answer the requests that are complete; an error of a pair fails its request."""
        errors = {error.position: error for error in message.errors}
        windows = {pair.position: pair.windows for pair in message.windows}
        truncated = set(message.truncated)
        charged: set[int] = set()
        # Of identical pairs, the one that was taken from the queue pays, as there.
        self._shares.note(zip((entry[0][0].caller for entry in batch.entries), message.tokens, strict=True), now)
        for position, entry in enumerate(batch.entries):
            self._queue.finish(entry)
            logit = message.logits[position]
            error: RerankError | None = None
            if (reported := errors.get(position)) is not None:
                error = error_from_code(reported.code, reported.message)
            elif not isfinite(logit):
                error = Failed(f"the model returned {logit} for a pair")
            for request, row in entry:
                if request.done:
                    continue
                if id(request) not in charged:
                    charged.add(id(request))
                    request.charge(message, served)
                if error is not None:
                    self.fail(request, error, now)
                    continue
                tokens, cut = message.tokens[position], position in truncated
                further = request.score(row, logit, tokens, windows.get(position, ()), truncated=cut)
                self._go_on(request, request.document_of(row), further, now)

    def _go_on(self, request: Request, index: int, further: range, now: float) -> None:
        """Let the further windows of a document wait; if there are none left, keep its score and perhaps answer."""
        for row in further:
            request.wait(row)
        self._counters.window_pairs += len(further)
        self._counters.joined_pairs += self._queue.add(request, further)
        document = request.scores[index]
        if document.rows_left:
            return
        if request.digests:
            self.cache.put(request.digests[index], document)
        if not request.unscored:
            self._answer(request, None, now)

    def retry(self, batch: InFlight, now: float, *, blame: bool) -> None:
        """Run each pair of a lost batch again, alone; a pair that is blamed a second time has failed."""
        for entry in batch.entries:
            self._queue.finish(entry)
            live = [(request, row) for request, row in entry if not request.done]
            if live and not (batch.implicated and blame):
                self._counters.retried_pairs += len(live)
                self._queue.retry_isolated(live, implicated=batch.implicated or blame)
                continue
            for request, row in live:
                if not request.done:  # a request may hold the pair twice
                    place = f"documents[{request.document_of(row)}]"
                    self.fail(request, Failed(f"{place} failed on the device twice, the second time alone"), now)

    # --- going out ------------------------------------------------------------------------------------

    def cancel(self, request: Request) -> None:
        """Forget a request that its caller cancelled."""
        self._counters.cancelled_requests += 1
        self._counters.cancelled_pairs += self._forget(request)

    def expire(self, absent: str | None, now: float) -> None:
        """Answer the requests whose time is up; ``absent`` is why there is no worker, if there is none."""
        for request in self.table.expired(now):
            self._counters.expired_requests += 1
            late = f"timed out after {request.deadline - request.arrived:g} s: "
            if absent is not None:
                self._answer(request, Unavailable(late + absent), now)
                continue
            scored = f"{request.documents - request.unscored} of {request.documents} documents were scored"
            self._answer(request, DeadlineExceeded(late + scored), now)

    def fail(self, request: Request, error: RerankError, now: float) -> None:
        """Answer a request that cannot be served."""
        if isinstance(error, InvalidRequest):
            self._counters.refused_invalid += 1
        else:
            self._counters.failed_requests += 1
        self._answer(request, error, now)

    def abandon(self, which: Callable[[Request], bool], error: Unavailable, now: float) -> None:
        """Answer the requests that ``which`` picks with ``error``."""
        for request in list(self.table):
            if which(request):
                self._counters.abandoned_requests += 1
                self._answer(request, error, now)

    def _answer(self, request: Request, error: RerankError | None, now: float) -> None:
        self._forget(request)
        if error is not None:
            self._refuse(request.peer, request.id, error)
            return
        answer = request.answer(now)
        self._counters.answered += 1
        self._counters.queue_ms += answer.timings_ms.queue
        self._actions.append(ToClient(request.peer, answer))

    def _refuse(self, peer: bytes, request_id: bytes, error: RerankError) -> None:
        refusal = Refusal(request_id, error.code, error.message, error.retry_after_ms)
        self._actions.append(ToClient(peer, refusal))

    def _forget(self, request: Request) -> int:
        """Take a request out of everything; return how many of its pairs had not started."""
        request.done = True
        self.table.remove(request)
        dropped = self._queue.remove(request)
        self.admission.leave(request.caller, request.stream, dropped, request.size)
        return dropped
