"""The workers' half of the broker's decisions: who serves, what each of a worker's messages means, who gets a batch.

Invariant: what a message on the workers' socket means depends on where its connection stands (``Standing``), by
this table, which ``DECISIONS`` writes down. A connection is UNKNOWN until it says hello, and again when it has closed::

    message          UNKNOWN                    SERVING                     DISMISSED
    worker_hello     serves from now on; who    serves anew: it dropped     "dismissed"
                     served is dismissed        what it held
    pull             "who are you?"             counted, then answered      "dismissed"
    progress         "who are you?"             noted                       "dismissed"
    worker_state     "who are you?"             shown                       "dismissed"
    batch_result     "who are you?"             scored                      "dismissed"
    batch_failed     "who are you?"             its pairs run again         "dismissed"
    worker_starting  shown                      shown                       "dismissed"
    worker_bye       nothing                    leaves, its pairs run       nothing
                                                again; UNKNOWN
    (silent, stuck,  -                          lost, its pairs run         -
    out of reach)                               again; DISMISSED
    (closed)         UNKNOWN                    lost; UNKNOWN               UNKNOWN

So a worker that was stopped or stuck and comes back is never taken for a new, healthy one: it ends itself and is
restarted. A lost worker's pairs run again, each alone; a pair that is lost alone is answered ``failed``, unless the
loss was clearly not its fault (the worker was stopped on purpose, or replaced).
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import msgspec

from ..protocol.client_messages import Served
from ..protocol.errors import Unavailable
from ..protocol.message import Message
from ..protocol.timeouts import Timeouts
from ..protocol.worker_messages import (
    BatchFailed,
    BatchResult,
    Dismissed,
    Progress,
    Pull,
    WhoAreYou,
    WorkerBye,
    WorkerHello,
    WorkerMessage,
    WorkerStarting,
    WorkerState,
    WorkerWelcome,
)
from .actions import Action, Level, Note, ToWorker
from .assignment import next_batch
from .circuit_breaker import CircuitBreaker
from .counters import Counters
from .pair_queue import PairQueue
from .request_lifecycle import RequestLifecycle
from .throughput import ThroughputEstimator
from .worker_roster import WorkerRoster
from .worker_session import Loss, Standing, WorkerSession

#: Logits of two models cannot be compared.
MODEL_CHANGED = Unavailable(
    "the service changed to another model, device or precision while this request was half done; ask again", 1000
)


class Workers:
    """Who serves, who was dismissed, and what they are sent. See the table above.

    Args:
        epoch: Identifies this run of the broker, for welcomes.
        roster: Which workers there are; kept up to date.
        requests: What batches are made for.
        queue: What they are made of.
        counters: What happened is counted there.
        actions: What is to be sent and logged is appended there.
        batch_ms: The device time a batch should take, ms.
        timeouts: When a worker is given up.
    """

    def __init__(
        self,
        epoch: str,
        roster: WorkerRoster,
        requests: RequestLifecycle,
        queue: PairQueue,
        counters: Counters,
        actions: list[Action],
        batch_ms: float,
        timeouts: Timeouts,
    ) -> None:
        self.throughput = ThroughputEstimator(512, 1 << 30, (), batch_ms)
        self.breaker = CircuitBreaker()
        self._epoch = epoch
        self._roster = roster
        self._requests = requests
        self._queue = queue
        self._counters = counters
        self._actions = actions
        self._batch_ms = batch_ms
        self._timeouts = timeouts
        self._batch_numbers = count(1)

    # --- events ---------------------------------------------------------------------------------------

    def message(self, identity: bytes, message: WorkerMessage, now: float) -> None:
        """Take what a worker sent, by the table."""
        worker = self._roster.serving
        if worker is not None and worker.identity == identity:
            worker.heard = now
        DECISIONS[self._roster.standing(identity)][type(message)](self, identity, message, now)

    def undelivered(self, identity: bytes, number: int, now: float) -> None:
        """Take back a batch that could not be sent, and give up the worker it was for."""
        worker = self._roster.serving
        if worker is None or worker.identity != identity:
            return
        if (batch := worker.in_flight.pop(number, None)) is not None:
            self._requests.retry(batch, now, blame=False)
        self._lose(worker, Loss("unreachable", f"the worker (pid {worker.hello.pid}) cannot be reached"), now)

    def gone(self, identity: bytes, now: float) -> None:
        """Give up a worker whose connection closed."""
        worker = self._roster.serving
        if worker is not None and worker.identity == identity:
            closed = f"the worker (pid {worker.hello.pid}) closed its connection"
            self._lose(worker, Loss("disconnected", closed), now)
        self._roster.forget(identity)

    def tick(self, now: float) -> None:
        """Give up a worker that is silent or stuck."""
        if self._roster.serving is not None and (loss := self._roster.serving.failure(now, self._timeouts)):
            self._lose(self._roster.serving, loss, now)

    def resume(self, now: float) -> None:
        """Count the worker's silence from ``now``."""
        if self._roster.serving is not None:
            self._roster.serving.heard = now

    def next_check_at(self) -> float | None:
        """Return when ``tick`` is due, or None."""
        return None if self._roster.serving is None else self._roster.serving.next_check_at(self._timeouts)

    # --- assignment -----------------------------------------------------------------------------------

    def assign(self, now: float) -> None:
        """Answer pulls as long as there are pulls and pairs that may be sent."""
        worker = self._roster.serving
        while worker is not None and worker.pulls:
            if (batch := next_batch(worker, self._queue, self.throughput)) is None:
                return
            worker.pulls -= 1
            number = next(self._batch_numbers)
            worker.in_flight[number] = batch
            self._requests.start(batch, now)
            self._actions.append(ToWorker(worker.identity, batch.message(number)))

    # --- what a worker's message means ----------------------------------------------------------------

    def _serve_with(self, identity: bytes, hello: WorkerHello, now: float) -> None:
        """Let a worker serve from now on, in the place of who did."""
        replaced = self._roster.serving
        if replaced is not None:
            loss = Loss("replaced", f"worker (pid {replaced.hello.pid}) was replaced by pid {hello.pid}")
            self._lose(replaced, loss, now, blame=False)
        self._begin_session(identity, hello, now, replaced)
        if replaced is not None:
            self._dismiss(replaced.identity, None, now)

    def _serve_anew(self, identity: bytes, hello: WorkerHello, now: float) -> None:
        """Let the worker that serves begin again: it has dropped what it held."""
        worker = self._roster.serving
        assert worker is not None
        self._roster.serving = None
        for batch in worker.in_flight.values():
            self._requests.retry(batch, now, blame=False)
        self._begin_session(identity, hello, now, worker)

    def _begin_session(self, identity: bytes, hello: WorkerHello, now: float, before: WorkerSession | None) -> None:
        self._counters.worker_hellos += 1
        self._roster.serving = WorkerSession(identity, hello, heard=now)
        served = Served(hello.model, hello.device, hello.precision)
        self._requests.abandon(lambda request: request.began_with_another(served), MODEL_CHANGED, now)
        self._requests.cache.use_model((hello.model, hello.device, hello.precision, hello.max_length))
        rate = self.throughput.tokens_per_ms if before is not None and before.hello.device == hello.device else None
        self.throughput = ThroughputEstimator(hello.max_length, hello.budget_tokens, hello.buckets, self._batch_ms)
        self.throughput.tokens_per_ms = rate
        self._note("info", f"worker (pid {hello.pid}) is ready: {hello.model} on {hello.device}, {hello.precision}")
        self._actions.append(ToWorker(identity, WorkerWelcome(self._epoch)))

    def _ask_who(self, identity: bytes, _message: object, _now: float) -> None:
        self._actions.append(ToWorker(identity, WhoAreYou()))

    def _dismiss(self, identity: bytes, _message: object, _now: float) -> None:
        """Tell a worker that was given up or replaced to end itself."""
        _, reason = self._roster.dismissed[identity]
        self._actions.append(ToWorker(identity, Dismissed(reason, replaced=self._roster.serving is not None)))

    def _note_starting(self, identity: bytes, message: WorkerStarting, _now: float) -> None:
        self._roster.starting = (identity, message)

    def _ignore(self, _identity: bytes, _message: object, _now: float) -> None:
        pass

    def _count_pull(self, _identity: bytes, _message: Pull, _now: float) -> None:
        assert self._roster.serving is not None
        self._roster.serving.pulls += 1

    def _note_progress(self, _identity: bytes, message: Progress, _now: float) -> None:
        assert self._roster.serving is not None
        self._roster.serving.note_progress(message)

    def _note_state(self, _identity: bytes, message: WorkerState, _now: float) -> None:
        assert self._roster.serving is not None
        self._roster.serving.hello = msgspec.structs.replace(self._roster.serving.hello, details=message.details)
        if message.buckets is not None:
            self.throughput.set_buckets(message.buckets)

    def _batch_failed(self, _identity: bytes, message: BatchFailed, now: float) -> None:
        assert self._roster.serving is not None
        self._note("error", f"batch {message.batch} failed on the device: {message.message}")
        if (batch := self._roster.serving.in_flight.pop(message.batch, None)) is not None:
            self._requests.retry(batch, now, blame=True)

    def _worker_leaves(self, _identity: bytes, message: WorkerBye, now: float) -> None:
        worker = self._roster.serving
        assert worker is not None
        self._roster.serving = None
        reason = f"worker (pid {worker.hello.pid}) left: {message.reason or 'stopped'}"
        if message.fault:
            self._count_loss(worker, Loss("fault", reason), now)
        self._note("warning" if message.fault else "info", reason)
        for batch in worker.in_flight.values():
            self._requests.retry(batch, now, blame=message.fault)

    def _batch_result(self, _identity: bytes, message: BatchResult, now: float) -> None:
        worker = self._roster.serving
        assert worker is not None
        batch = worker.in_flight.pop(message.batch, None)
        if batch is None:
            return
        if len(message.logits) != len(batch.entries) or len(message.tokens) != len(batch.entries):
            self._note("error", f"the worker answered batch {message.batch} with {len(message.logits)} logits")
            self._requests.retry(batch, now, blame=True)
            return
        self.breaker.note_success()
        worker.stalled_ms = 0.0
        self._counters.note_result(message)
        self.throughput.learn(batch.entries, message)
        served = self._roster.served()
        assert served is not None
        self._requests.score(batch, message, served, now)

    def _lose(self, worker: WorkerSession, loss: Loss, now: float, *, blame: bool = True) -> None:
        """Give up the serving worker: its messages are ignored from now on, and what it held runs again."""
        self._roster.dismiss(worker, loss)
        self._note("warning", f"lost the worker: {loss.words}")
        self._count_loss(worker, loss, now, blame=blame)
        for batch in worker.in_flight.values():
            self._requests.retry(batch, now, blame=blame)

    def _count_loss(self, worker: WorkerSession, loss: Loss, now: float, *, blame: bool = True) -> None:
        self._counters.worker_losses += 1
        self._roster.losses[loss.kind] += 1
        if blame and worker.in_flight:
            self.breaker.note_loss(loss.words, now)

    def _note(self, level: Level, text: str) -> None:
        self._actions.append(Note(level, text))


_Decision = Callable[[Workers, bytes, Any, float], None]

#: The table above: for each standing, what each message of a worker means.
DECISIONS: Mapping[Standing, Mapping[type[Message], _Decision]] = {
    Standing.UNKNOWN: {
        WorkerHello: Workers._serve_with,
        Pull: Workers._ask_who,
        Progress: Workers._ask_who,
        WorkerState: Workers._ask_who,
        BatchResult: Workers._ask_who,
        BatchFailed: Workers._ask_who,
        WorkerStarting: Workers._note_starting,
        WorkerBye: Workers._ignore,
    },
    Standing.SERVING: {
        WorkerHello: Workers._serve_anew,
        Pull: Workers._count_pull,
        Progress: Workers._note_progress,
        WorkerState: Workers._note_state,
        BatchResult: Workers._batch_result,
        BatchFailed: Workers._batch_failed,
        WorkerStarting: Workers._note_starting,
        WorkerBye: Workers._worker_leaves,
    },
    Standing.DISMISSED: {
        WorkerHello: Workers._dismiss,
        Pull: Workers._dismiss,
        Progress: Workers._dismiss,
        WorkerState: Workers._dismiss,
        BatchResult: Workers._dismiss,
        BatchFailed: Workers._dismiss,
        WorkerStarting: Workers._dismiss,
        WorkerBye: Workers._ignore,
    },
}
