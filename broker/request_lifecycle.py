"""Where requests are taken in and answered: each accepted one exactly once, or forgotten with its caller."""

from collections.abc import Callable
from dataclasses import dataclass

from ..protocol.errors import DeadlineExceeded, InvalidRequest, RerankError, Unavailable
from ..protocol.limits import Limits
from ..protocol.messages import QueueStatus, Refusal, Rerank, Scores
from .admission import Admission, flaw
from .counters import Counters
from .pair_queue import PairQueue
from .request import Request
from .request_table import RequestTable
from .throughput import ThroughputEstimator


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's connection: its ROUTER identity, and who is behind it (``trusted``: the broker's own user)."""

    identity: bytes
    caller: str
    trusted: bool

    def charged(self, message: Rerank) -> str:
        """Return who is charged for a request: a peer of our own user may speak for others (the front does)."""
        return f"{self.caller}/{message.caller}" if self.trusted and message.caller else self.caller


class RequestLifecycle:
    """Takes requests in and answers them.

    Law of this class: a request leaves ``requests``, ``waiting`` and ``admission`` together, in ``_forget``.

    Args:
        limits: The bounds.
        counters: What happened is counted there.
        send: Called with a connection and the answer for it.
    """

    def __init__(self, limits: Limits, counters: Counters, send: Callable[[bytes, Scores | Refusal], None]) -> None:
        self.requests = RequestTable()
        self.waiting = PairQueue()
        self.admission = Admission(limits)
        self._limits = limits
        self._counters = counters
        self._send = send

    def status(self) -> QueueStatus:
        """Return what status pages show of what waits."""
        return QueueStatus(len(self.requests), self.admission.pairs, self.admission.bytes, self.waiting.callers)

    def take(
        self, peer: Peer, message: Rerank, throughput: ThroughputEstimator, closed: Unavailable | None, now: float
    ) -> None:
        """Accept a request or refuse it; ``closed`` is why none is accepted now, if that is so."""
        if self.requests.get(peer.identity, message.id) is not None:
            return  # the client asked again across a reconnect; the first one is still being served
        caller = peer.charged(message)
        size = len(message.query) + sum(map(len, message.documents))
        refusal = self._refusal(caller, size, message, throughput, closed)
        if refusal is not None:
            self._send(peer.identity, Refusal(message.id, refusal.code, refusal.message, refusal.retry_after_ms))
            return
        asked = message.deadline_ms or self._limits.default_deadline_ms
        request = Request(
            peer=peer.identity,
            id=message.id,
            caller=caller,
            bulk=message.priority == "bulk",
            query=message.query,
            documents=message.documents,
            lengths=[throughput.length(len(message.query) + len(each)) for each in message.documents],
            arrived=now,
            deadline=now + min(asked, self._limits.max_deadline_ms) / 1000,
            size=size,
        )
        self.requests.add(request)
        self.admission.enter(caller, len(request.documents), size)
        self.waiting.add(request)
        self._counters.requests += 1
        self._counters.pairs += len(request.documents)

    def _refusal(
        self, caller: str, size: int, message: Rerank, throughput: ThroughputEstimator, closed: Unavailable | None
    ) -> RerankError | None:
        if (wrong := flaw(message, self._limits)) is not None:
            self._counters.refused_invalid += 1
            return wrong
        if closed is not None:
            self._counters.refused_unavailable += 1
            return closed
        overload = self.admission.refusal(caller, len(message.documents), size, throughput.wait_ms(self.waiting.tokens))
        if overload is not None:
            self._counters.refused_overloaded += 1
        return overload

    def cancel(self, request: Request) -> None:
        """Forget a request whose caller does not want it any more."""
        self._counters.cancelled_requests += 1
        self._counters.cancelled_pairs += self._forget(request)

    def expire(self, request: Request, absent: str | None, now: float) -> None:
        """Answer a request whose time is up; ``absent`` is why there is no worker, if there is none."""
        self._counters.expired_requests += 1
        told = f"no answer within {request.deadline - request.arrived:g} s: "
        if absent is not None:
            self.finish(request, Unavailable(told + absent), now)
            return
        done = len(request.documents) - request.unscored
        self.finish(request, DeadlineExceeded(f"{told}{done} of {len(request.documents)} documents were scored"), now)

    def fail(self, request: Request, error: RerankError, now: float) -> None:
        """Answer a request that cannot be served."""
        if isinstance(error, InvalidRequest):
            self._counters.refused_invalid += 1
        else:
            self._counters.failed_requests += 1
        self.finish(request, error, now)

    def finish(self, request: Request, error: RerankError | None, now: float) -> None:
        """Answer a request: with its scores, or with ``error``."""
        self._forget(request)
        if error is not None:
            self._send(request.peer, Refusal(request.id, error.code, error.message, error.retry_after_ms))
            return
        assert request.served is not None
        timings = request.timings(now)
        self._counters.answered += 1
        self._counters.queue_ms += timings.queue
        self._send(
            request.peer,
            Scores(
                id=request.id,
                scores=request.logits,
                truncated=sorted(request.truncated),
                tokens=request.tokens,
                served=request.served,
                timings_ms=timings,
            ),
        )

    def _forget(self, request: Request) -> int:
        """Take a request out of everything; return how many of its pairs had not started."""
        request.done = True
        self.requests.remove(request)
        dropped = self.waiting.remove(request)
        self.admission.leave(request.caller, dropped, request.size)
        return dropped
