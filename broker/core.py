"""The broker's decisions: messages and ``now`` go in, actions come out.

Laws of this file:

1. No socket, no clock, no logger. Time is a parameter (seconds, monotonic).
2. Every accepted request is answered exactly once: by ``RequestLifecycle.finish``, and nothing else sends an answer to
   it; or it is forgotten because its caller went away or cancelled it.
3. After every event ``_assign`` gives the worker what it asked for, if anything waits.

Theory of operation: a request is split into pairs, which wait. The worker pulls; a pull is answered with a
batch made of what waits at that moment (``PairQueue.take``). The logits that come back are noted in their
requests; a request without unscored pairs is answered. A lost worker's pairs run again, each alone; a pair
that is lost alone is answered ``failed``, unless nothing speaks for its having been the cause.
"""

from itertools import count
from math import isfinite
from typing import Literal

import msgspec

from ..protocol.errors import Failed, RerankError, Unavailable, error_from_code
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.messages import (
    BatchFailed,
    BatchResult,
    BrokerMessage,
    Cancel,
    ClientMessage,
    Dismissed,
    GetStatus,
    Hello,
    Progress,
    Pull,
    Refusal,
    Rerank,
    Served,
    Status,
    Welcome,
    WhoAreYou,
    WorkerBye,
    WorkerHello,
    WorkerMessage,
    WorkerStarting,
    WorkerState,
    WorkerStatus,
    WorkerWelcome,
)
from .actions import Action, Note, ToClient, ToWorker
from .circuit_breaker import CircuitBreaker
from .counters import Counters
from .request_lifecycle import Peer, RequestLifecycle
from .throughput import SPECIAL_TOKENS, ThroughputEstimator
from .worker_session import InFlight, WorkerSession

#: The device time a batch should take, ms.
DEFAULT_BATCH_MS = 100.0


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
    ) -> None:
        self.epoch = epoch
        self.counters = Counters()
        self._version = version
        self._pid = pid
        self._born = now
        self._limits = limits
        self._batch_ms = batch_ms
        self._desk = RequestLifecycle(limits, self.counters, self._send)
        self._batch_numbers = count(1)
        self._throughput = ThroughputEstimator(512, 1 << 30, (), batch_ms)
        self._worker: WorkerSession | None = None
        self._starting: tuple[bytes, WorkerStarting] | None = None
        self._losses = CircuitBreaker()
        self._draining = False
        self._peers: dict[bytes, Hello] = {}
        self._actions: list[Action] = []

    def __repr__(self) -> str:
        state = "absent" if self._worker is None else "busy" if self._worker.in_flight else "idle"
        flying = len(self._worker.in_flight) if self._worker else 0
        requests, waiting = len(self._desk.requests), self._desk.admission.pairs
        return f"<Broker requests={requests} waiting={waiting} inflight={flying} worker={state}>"

    @property
    def idle(self) -> bool:
        """Whether every request is answered."""
        return not self._desk.requests

    # --- events ---------------------------------------------------------------------------------------

    def client_message(self, peer: Peer, message: ClientMessage, now: float) -> list[Action]:
        """Take what a client sent."""
        match message:
            case Hello():
                self._peers[peer.identity] = message
                self._send(peer.identity, Welcome(self.epoch, self._version, self._limits))
            case Rerank():
                self._desk.take(peer, message, self._throughput, self._closed(now), now)
            case Cancel(id=request_id):
                if (request := self._desk.requests.get(peer.identity, request_id)) is not None:
                    self._desk.cancel(request)
            case GetStatus(id=request_id):
                self._send(peer.identity, self._status(request_id, now))
        return self._assign(now)

    def client_malformed(self, identity: bytes, error: RerankError) -> list[Action]:
        """Answer frames that are no message."""
        self.counters.refused_invalid += 1
        self._send(identity, Refusal(b"", error.code, error.message))
        return self._flush()

    def client_gone(self, identity: bytes, now: float) -> list[Action]:
        """Forget all that a closed connection asked for."""
        self._peers.pop(identity, None)
        for request in self._desk.requests.of(identity):
            self._desk.cancel(request)
        return self._assign(now)

    def worker_message(self, identity: bytes, message: WorkerMessage, now: float) -> list[Action]:
        """Take what a worker sent."""
        if isinstance(message, WorkerHello):
            self._worker_hello(identity, message, now)
            return self._assign(now)
        if isinstance(message, WorkerStarting):
            self._starting = (identity, message)
            return self._flush()
        worker = self._worker
        if worker is None or worker.identity != identity:
            self._actions.append(ToWorker(identity, WhoAreYou()))
            return self._flush()
        worker.heard = now
        match message:
            case Pull():
                worker.pulls += 1
            case Progress():
                worker.note_progress(message, now)
            case BatchResult():
                self._batch_result(worker, message, now)
            case BatchFailed(batch=number, message=text):
                self._note("error", f"batch {number} failed on the device: {text}")
                if (batch := worker.in_flight.pop(number, None)) is not None:
                    self._retry(batch, now, blame=True)
            case WorkerState(details=details):
                worker.hello = msgspec.structs.replace(worker.hello, details=details)
            case WorkerBye(reason=reason, fault=fault):
                self._note("info", f"worker (pid {worker.hello.pid}) left: {reason or 'stopped'}")
                self._worker = None
                for batch in worker.in_flight.values():
                    self._retry(batch, now, blame=fault)
        return self._assign(now)

    def batch_undelivered(self, identity: bytes, number: int, now: float) -> list[Action]:
        """Take back a batch that could not be sent, and give up the worker it was for."""
        held = self._worker.in_flight if self._worker is not None and self._worker.identity == identity else {}
        if (batch := held.pop(number, None)) is not None:
            self._retry(batch, now, blame=False)
        return self.worker_gone(identity, now)

    def worker_gone(self, identity: bytes, now: float) -> list[Action]:
        """Give up a worker whose connection closed."""
        if self._starting is not None and self._starting[0] == identity:
            self._starting = None
        if self._worker is not None and self._worker.identity == identity:
            self._lose_worker(self._worker, f"the worker (pid {self._worker.hello.pid}) closed its connection", now)
        return self._assign(now)

    def tick(self, now: float) -> list[Action]:
        """Do what time asks for: deadlines, and a worker that is silent or stuck."""
        for request in self._desk.requests.expired(now):
            self._desk.expire(request, self.ready(now)[1] if self._worker is None else None, now)
        if self._worker is not None and (trouble := self._worker.trouble(now)):
            self._lose_worker(self._worker, trouble, now)
        return self._assign(now)

    def next_wakeup(self) -> float | None:
        """Return when ``tick`` is due, or None."""
        due = (self._desk.requests.next_deadline(), self._worker.trouble_at() if self._worker else None)
        return min((each for each in due if each is not None), default=None)

    def drain(self) -> list[Action]:
        """Accept nothing more; what was accepted is still answered."""
        self._draining = True
        return self._flush()

    def abandon(self, now: float) -> list[Action]:
        """Answer all that is left with ``unavailable``: the broker stops."""
        for request in list(self._desk.requests):
            self._desk.finish(request, Unavailable("the service was stopped before this request was done"), now)
        return self._flush()

    def requests_in(self, batch: int) -> list[bytes]:
        """Return the ids of the requests that a batch in flight serves."""
        found = self._worker.in_flight.get(batch) if self._worker else None
        return list({request.id: None for entry in found.entries for request, _ in entry}) if found else []

    def ready(self, now: float) -> tuple[bool, str]:
        """Return whether a request would be accepted and run now, and in words why or why not."""
        if (closed := self._closed(now)) is not None:
            return False, closed.message
        if self._worker is None and self._starting is not None:
            starting = self._starting[1]
            return False, f"no worker is ready: the one that is starting (pid {starting.pid}) says: {starting.doing}"
        if self._worker is None:
            return False, "no worker is ready: it is loading its model, or it is not running"
        return True, "ready"

    def _closed(self, now: float) -> Unavailable | None:
        """Return why no request is accepted now, or None."""
        if self._draining:
            return Unavailable("the service is stopping")
        if why := self._losses.refusing(now):
            return Unavailable(why, self._losses.retry_after_ms(now))
        return None

    # --- the worker -----------------------------------------------------------------------------------

    def _worker_hello(self, identity: bytes, hello: WorkerHello, now: float) -> None:
        old, self._worker = self._worker, None
        if old is not None and old.identity == identity:  # it says hello again: it has dropped what it held
            for batch in old.in_flight.values():
                self._retry(batch, now, blame=False)
        elif old is not None:
            self._actions.append(ToWorker(old.identity, Dismissed(f"worker (pid {hello.pid}) took its place")))
            self._lose_worker(old, f"worker (pid {old.hello.pid}) was replaced by pid {hello.pid}", now, blame=False)
        self.counters.worker_hellos += 1
        self._worker = WorkerSession(identity, hello, heard=now)
        self._part_with_other_models(now)
        rate = self._throughput.tokens_per_ms if old is not None and old.hello.device == hello.device else None
        self._throughput = ThroughputEstimator(hello.max_length, hello.budget_tokens, hello.buckets, self._batch_ms)
        self._throughput.tokens_per_ms = rate
        self._note("info", f"worker (pid {hello.pid}) is ready: {hello.model} on {hello.device}, {hello.precision}")
        self._actions.append(ToWorker(identity, WorkerWelcome(self.epoch)))

    def _part_with_other_models(self, now: float) -> None:
        """Give up what another model began to score: two models' logits do not compare."""
        for request in list(self._desk.requests):
            if request.served is not None and not self._serves(request.served):
                self._desk.finish(
                    request,
                    Unavailable(
                        f"the service changed from {_shown(request.served)} to another model, device or precision "
                        "while this request was half done; ask again",
                        1000,
                    ),
                    now,
                )

    def _serves(self, served: Served) -> bool:
        assert self._worker is not None
        hello = self._worker.hello
        return (served.model, served.device, served.precision) == (hello.model, hello.device, hello.precision)

    def _lose_worker(self, worker: WorkerSession, reason: str, now: float, *, blame: bool = True) -> None:
        self._worker = None
        self.counters.worker_losses += 1
        self._note("warning", f"lost the worker: {reason}")
        if worker.in_flight and blame:
            self._losses.note(reason, now)
        for batch in worker.in_flight.values():
            self._retry(batch, now, blame=blame)

    def _retry(self, batch: InFlight, now: float, *, blame: bool) -> None:
        """Run each pair of a lost batch again, alone; one that is to blame for the second time has failed."""
        blame = blame and not batch.waits
        for entry in batch.entries:
            wanted = [(request, index) for request, index in entry if not request.done]
            if wanted and not (batch.suspect and blame):
                self.counters.retried_pairs += len(wanted)
                self._desk.waiting.retry_alone(wanted, suspect=batch.suspect or blame)
                continue
            for request, index in wanted:
                if not request.done:  # a request may hold the pair twice
                    self._desk.fail(
                        request, Failed(f"documents[{index}] failed on the device twice, the second time alone"), now
                    )

    def _batch_result(self, worker: WorkerSession, message: BatchResult, now: float) -> None:
        batch = worker.in_flight.pop(message.batch, None)
        if batch is None:
            return
        if len(message.logits) != len(batch.entries) or len(message.tokens) != len(batch.entries):
            self._note("error", f"the worker answered batch {message.batch} with {len(message.logits)} logits")
            self._retry(batch, now, blame=True)
            return
        self._losses.note_success()
        worker.stalled_ms = 0.0
        self.counters.note_result(message)
        self._learn(batch, message)
        errors = {each.position: each for each in message.errors}
        truncated = set(message.truncated)
        charged: set[int] = set()
        hello = worker.hello
        served = Served(hello.model, hello.device, hello.precision)
        for position, entry in enumerate(batch.entries):
            logit = message.logits[position]
            error: RerankError | None = None
            if (told := errors.get(position)) is not None:
                error = error_from_code(told.code, told.message)
            elif not isfinite(logit):
                error = Failed(f"the model answered {logit} for a pair")
            for request, index in entry:
                if request.done:
                    continue
                if id(request) not in charged:
                    charged.add(id(request))
                    request.charge(message, served)
                if error is not None:
                    self._desk.fail(request, error, now)
                    continue
                request.score(index, logit, message.tokens[position], position in truncated)
                if not request.unscored:
                    self._desk.finish(request, None, now)

    def _learn(self, batch: InFlight, message: BatchResult) -> None:
        cut = set(message.truncated)
        whole = [
            (request, index, tokens - SPECIAL_TOKENS)
            for place, (((request, index), *_), tokens) in enumerate(zip(batch.entries, message.tokens, strict=True))
            if place not in cut and tokens > SPECIAL_TOKENS
        ]
        self._throughput.observe(
            size=sum(len(request.query) + len(request.documents[index]) for request, index, _ in whole),
            tokens=sum(tokens for _, _, tokens in whole),
            padded_tokens=message.padded_tokens,
            inference_ms=message.inference_ms,
        )

    # --- assignment -----------------------------------------------------------------------------------

    def _assign(self, now: float) -> list[Action]:
        """Answer pulls as long as there are pulls and pairs.

        A pair that runs alone is all the device has to do: else its death would be blamed on others.
        """
        worker = self._worker
        while worker is not None and worker.pulls and not worker.runs_one_alone:
            alone = None
            if self._desk.waiting.some_alone and not worker.one_waits:
                if worker.in_flight:
                    break  # it goes next, when the device is through with these
                alone = self._desk.waiting.take_alone()
            elif not self._desk.waiting.some_in_turns:
                break
            worker.pulls -= 1
            if alone is not None:
                self._dispatch(worker, InFlight([alone.entry], alone=True, suspect=alone.suspect, sent=now), now)
            else:
                entries = self._desk.waiting.take(self._throughput.room(), self._throughput.cost)
                self._dispatch(worker, InFlight(entries, alone=False, suspect=False, sent=now), now)
        return self._flush()

    def _dispatch(self, worker: WorkerSession, batch: InFlight, now: float) -> None:
        number = next(self._batch_numbers)
        for entry in batch.entries:
            for request, _ in entry:
                if request.started is None:
                    request.started = now
                if not batch.alone:
                    self._desk.admission.leave(request.caller, 1, 0)
        worker.in_flight[number] = batch
        self.counters.note_batch(batch.entries)
        self._actions.append(ToWorker(worker.identity, batch.message(number)))

    # --- what is shown --------------------------------------------------------------------------------

    def _status(self, request_id: bytes, now: float) -> Status:
        ready, reason = self.ready(now)
        losses = self.counters.worker_losses
        worker = self._worker
        return Status(
            id=request_id,
            epoch=self.epoch,
            pid=self._pid,
            uptime_s=round(now - self._born, 3),
            ready=ready,
            reason=reason,
            queue=self._desk.status(),
            worker=WorkerStatus(restarts=losses)
            if worker is None
            else worker.status(self._throughput.tokens_per_ms, losses),
            peers=self._peer_pids(),
            counters=self.counters.report(),
            limits=self._limits,
        )

    def _peer_pids(self) -> dict[str, list[int]]:
        pids: dict[str, set[int]] = {}
        for hello in self._peers.values():
            pids.setdefault(hello.name, set()).add(hello.pid)
        return {name: sorted(each) for name, each in pids.items()}

    def _send(self, peer: bytes, message: BrokerMessage) -> None:
        self._actions.append(ToClient(peer, message))

    def _note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._actions.append(Note(level, text))

    def _flush(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


def _shown(served: Served) -> str:
    return f"{served.model} on {served.device} ({served.precision})"
