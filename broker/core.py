"""The broker's decisions: messages and ``now`` go in, actions come out.

Invariants:

1. No socket, no clock, no logger. Time is a parameter (seconds, monotonic).
2. Every accepted request is answered exactly once, or forgotten with its caller; ``RequestLifecycle`` sees to it.
3. What a worker's message means is decided by the table in ``Workers``.
4. After every event the serving worker gets what it asked for, if anything waits.

Theory of operation: a request is split into pairs, which wait. The worker pulls; a pull is answered with a batch made
of what waits at that moment (``PairQueue.take``). The logits that come back are noted in their requests; a request
without unscored pairs is answered.
"""

from ..protocol.client_messages import BrokerMessage, Cancel, ClientMessage, Hello, Refusal, Rerank, Welcome
from ..protocol.errors import RerankError, Unavailable
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.status_messages import CacheStatus, Status
from ..protocol.timeouts import DEFAULT_TIMEOUTS, Timeouts
from ..protocol.worker_messages import WindowPlan, WorkerMessage
from .actions import Action, ToClient
from .counters import Counters
from .pair_queue import PairQueue
from .peer import Peer
from .request_lifecycle import RequestLifecycle
from .score_cache import ScoreCache
from .worker_roster import WorkerRoster
from .workers import Workers

#: The device time a batch should take, ms.
DEFAULT_BATCH_MS = 100.0
#: How long documents are read by default; SPEC.md, "Long documents", has what other numbers of windows give.
DEFAULT_PLAN = WindowPlan(8)
#: Memory of the score cache, bytes.
DEFAULT_CACHE_BYTES = 32 << 20
#: Processes that a status names.
MAX_PEERS_SHOWN = 100


class Broker:
    """The state machine. See the laws above."""

    def __init__(
        self,
        epoch: str,
        now: float,
        *,
        version: str = "",
        pid: int = 0,
        limits: Limits = DEFAULT_LIMITS,
        batch_ms: float = DEFAULT_BATCH_MS,
        plan: WindowPlan = DEFAULT_PLAN,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self.epoch = epoch
        self.counters = Counters()
        self._version = version
        self._pid = pid
        self._born = now
        self._limits = limits
        self._actions: list[Action] = []
        self._queue = PairQueue()
        self._cache = ScoreCache(cache_bytes)
        self._requests = RequestLifecycle(limits, self.counters, self._queue, self._cache, self._actions, plan, now)
        self._roster = WorkerRoster()
        self._workers = Workers(
            epoch, self._roster, self._requests, self._queue, self.counters, self._actions, batch_ms, timeouts
        )
        self._draining = False
        self._peers: dict[bytes, tuple[str, Hello]] = {}  # by connection: the process behind it, and what it says

    def summary(self) -> str:
        """Return what the broker is doing, in a few words."""
        worker = self._roster.serving
        state = "absent" if worker is None else "busy" if worker.in_flight else "idle"
        in_flight = 0 if worker is None else len(worker.in_flight)
        waiting = self._requests.admission.pairs
        return f"{len(self._requests)} requests, {waiting} pairs waiting, {in_flight} batches in flight, worker {state}"

    @property
    def idle(self) -> bool:
        """Whether every request is answered."""
        return not len(self._requests)

    @property
    def expects_worker(self) -> bool:
        """Whether waiting pairs may still be scored: a worker serves, or one is loading."""
        return self._roster.expected

    # --- clients --------------------------------------------------------------------------------------

    def client_message(self, peer: Peer, message: ClientMessage, now: float) -> list[Action]:
        """Take what a client sent."""
        match message:
            case Hello():
                self._peers[peer.identity] = peer.caller, message
                self._send(peer.identity, Welcome(self.epoch, self._version, self._limits))
            case Rerank():
                throughput, served = self._workers.throughput, self._roster.served()
                self._requests.accept(peer, message, throughput, self._closed(now), served, now)
            case Cancel(id=request_id):
                if (request := self._requests.table.get(peer.identity, request_id)) is not None:
                    self._requests.cancel(request)
            case _:
                self._send(peer.identity, self._status(message.id, now))
        return self._assign(now)

    def client_malformed(self, identity: bytes, error: RerankError) -> list[Action]:
        """Answer frames that are not a message of the protocol."""
        self.counters.refused_invalid += 1
        self._send(identity, Refusal(b"", error.code, error.message))
        return self._flush()

    def client_gone(self, identity: bytes, now: float) -> list[Action]:
        """Forget all that a closed connection asked for."""
        self._peers.pop(identity, None)
        for request in self._requests.table.of(identity):
            self._requests.cancel(request)
        return self._assign(now)

    # --- workers --------------------------------------------------------------------------------------

    def worker_message(self, identity: bytes, message: WorkerMessage, now: float) -> list[Action]:
        """Take what a worker sent."""
        self._workers.message(identity, message, now)
        return self._assign(now)

    def batch_undelivered(self, identity: bytes, number: int, now: float) -> list[Action]:
        """Take back a batch that could not be sent, and give up the worker it was for."""
        self._workers.undelivered(identity, number, now)
        return self._assign(now)

    def worker_gone(self, identity: bytes, now: float) -> list[Action]:
        """Give up a worker whose connection closed."""
        self._workers.gone(identity, now)
        return self._assign(now)

    def requests_in(self, batch: int) -> list[bytes]:
        """Return the ids of the requests that a batch in flight serves."""
        return self._roster.requests_in(batch)

    # --- time, and the end ----------------------------------------------------------------------------

    def tick(self, now: float) -> list[Action]:
        """Do what time asks for: deadlines, and a worker that is silent or stuck.

        Everything received before ``now`` must have been handled, so that no worker is given up with messages unread.
        """
        absent = None if self._roster.serving is not None else self.ready(now)[1]
        self._requests.expire(absent, now)
        self._workers.tick(now)
        return self._assign(now)

    def resume(self, now: float) -> None:
        """Count silence from ``now``: until then the broker itself, or the whole machine, was stopped."""
        self._workers.resume(now)

    def next_wakeup(self) -> float | None:
        """Return when ``tick`` is due, or None."""
        due = (self._requests.table.next_deadline(), self._workers.next_check_at())
        return min((time for time in due if time is not None), default=None)

    def drain(self) -> list[Action]:
        """Accept nothing more; what was accepted is still answered."""
        self._draining = True
        return self._flush()

    def abandon(self, now: float) -> list[Action]:
        """Answer all that is left with ``unavailable``: the broker stops."""
        stopped = Unavailable("the service was stopped before this request was done")
        self._requests.abandon(lambda _: True, stopped, now)
        return self._flush()

    # --- what is shown --------------------------------------------------------------------------------

    def ready(self, now: float) -> tuple[bool, str]:
        """Return whether a request would be accepted and run now, and why (not), as text."""
        if (closed := self._closed(now)) is not None:
            return False, closed.message
        absent = self._roster.absent_reason()
        return absent is None, absent or "ready"

    def _closed(self, now: float) -> Unavailable | None:
        """Return why no request is accepted now, or None."""
        if self._draining:
            return Unavailable("the service is stopping")
        breaker = self._workers.breaker
        if reason := breaker.refusing(now):
            return Unavailable(reason, breaker.retry_after_ms(now))
        return None

    def _status(self, request_id: bytes, now: float) -> Status:
        ready, reason = self.ready(now)
        return Status(
            id=request_id,
            epoch=self.epoch,
            pid=self._pid,
            uptime_s=round(now - self._born, 3),
            ready=ready,
            reason=reason,
            queue=self._requests.status(),
            worker=self._roster.status(self._workers.throughput.tokens_per_ms),
            peers=self._peer_pids(),
            counters=self.counters.report(),
            score_cache=CacheStatus(len(self._cache), self._cache.size),
            callers=self._requests.callers(now),
            limits=self._limits,
        )

    def _peer_pids(self) -> dict[str, list[int]]:
        """Return the connected processes under the names they gave, once each, up to a limit."""
        pids: dict[str, list[int]] = {}
        for hello in list(dict(self._peers.values()).values())[:MAX_PEERS_SHOWN]:
            pids.setdefault(hello.name, []).append(hello.pid)
        return {name: sorted(set(of_name)) for name, of_name in pids.items()}

    # --- what goes out --------------------------------------------------------------------------------

    def _assign(self, now: float) -> list[Action]:
        self._workers.assign(now)
        return self._flush()

    def _send(self, peer: bytes, message: BrokerMessage) -> None:
        self._actions.append(ToClient(peer, message))

    def _flush(self) -> list[Action]:
        actions = self._actions.copy()
        self._actions.clear()
        return actions
