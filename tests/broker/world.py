"""A random world around the broker's core: callers, workers, faults and time, all from one seed.

``python -m openvino_reranker.tests.broker.world SEED REQUESTS`` replays one world and prints what it saw.
"""

import heapq
import random
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from openvino_reranker.broker.actions import Action, ToClient, ToWorker
from openvino_reranker.broker.core import Broker
from openvino_reranker.broker.fair_queue import ADVANCE, CATCH_UP, QUANTUM
from openvino_reranker.broker.pair_queue import BULK_EVERY
from openvino_reranker.broker.peer import Peer
from openvino_reranker.broker.score_cache import ENTRY_BYTES
from openvino_reranker.broker.worker_session import InFlight, Standing
from openvino_reranker.protocol.client_messages import Cancel, Refusal, Rerank, Scores
from openvino_reranker.protocol.limits import Limits
from openvino_reranker.protocol.timeouts import DEFAULT_TIMEOUTS
from openvino_reranker.protocol.worker_messages import (
    Batch,
    BatchFailed,
    BatchResult,
    Dismissed,
    PairWindows,
    Progress,
    Pull,
    WhoAreYou,
    Window,
    WindowPlan,
    WorkerBye,
    WorkerHello,
    WorkerWelcome,
)

LIMITS = Limits(
    documents=60, queued_pairs=300, caller_pairs=150, queued_bytes=60_000, caller_bytes=30_000, max_deadline_ms=60_000
)
POISON = b"poison"
#: All that can happen, and happens in enough worlds.
HAPPENINGS = {
    "scores",
    "overloaded",
    "deadline_exceeded",
    "unavailable",
    "failed",
    "deaths",
    "stuck",
    "revenants",
    "windowed",
    "cached",
    "batches",
}


def logit(query: bytes, document: bytes) -> float:
    return float((hash((query, document)) & 0xFFFF) - 0x8000)


def windows_of(document: bytes, max_windows: int) -> list[Window]:
    """Return how the worker reads a document: its windows of 80 bytes, 60 apart; none if one reads it whole."""
    if len(document) <= 80:
        return []
    spans = [(start, min(len(document), start + 80)) for start in range(0, len(document) - 20, 60)]
    return [Window(start, end, 4 + (end - start) // 4) for start, end in spans[:max_windows]]


def expected(query: bytes, document: bytes, max_windows: int) -> float:
    windows = windows_of(document, max_windows)
    return max((logit(query, document[each.start : each.end]) for each in windows), default=logit(query, document))


@dataclass(slots=True)
class Asked:
    """A request the world waits for: what must come back, and until when."""

    query: bytes
    documents: list[bytes]
    windows: int
    deadline: float
    lost: Counter[bytes] = field(default_factory=Counter)  # how often a document was with a worker that failed


class World:
    """Runs the core against random callers and a random worker, checking its laws after every step."""

    def __init__(self, seed: int, requests: int) -> None:
        self.random = random.Random(seed)
        self.left = requests
        self.now = 0.0
        cache_bytes = self.random.choice((0, 20, 5000)) * ENTRY_BYTES
        self.broker = Broker("e", 0.0, limits=LIMITS, batch_ms=50, plan=WindowPlan(2), cache_bytes=cache_bytes)
        self.events: list[tuple[float, int, tuple[object, ...]]] = []
        self.order = count()
        self.ids = count(1)
        self.worker_ids = count(1)
        self.asked: dict[tuple[bytes, bytes], Asked] = {}
        self.worker: bytes | None = None
        self.alive: dict[bytes, str] = {}  # worker -> "well", "silent", "stuck"
        self.stuck_since: dict[bytes, float] = {}
        self.ends_itself = True
        self.seen: Counter[str] = Counter()
        self.batches_since_served: dict[str, int] = {}
        self.texts = [b"t%d " % number * self.random.randint(1, 60) for number in range(40)]
        self.peers = [Peer(b"p%d" % number, f"c{number % 5}", trusted=True) for number in range(8)]
        self.bulk_callers = {"c4"}
        self.load = self.random.choice((0.002, 0.01, 0.05))
        self.faults = self.random.choice((0.0, 0.002, 0.02))
        self.later(0.0, "ask")
        self.later(self.random.uniform(0, 3), "worker")

    def later(self, delay: float, *event: object) -> None:
        heapq.heappush(self.events, (self.now + delay, next(self.order), event))

    def run(self) -> Counter[str]:
        while self.left or self.asked:
            due = self.events[0][0] if self.events else float("inf")
            wakeup = self.broker.next_wakeup()
            if wakeup is not None and wakeup <= due:
                self.now = max(self.now, wakeup)
                worker = self.broker._roster.serving
                if worker is not None and worker.failure(self.now, DEFAULT_TIMEOUTS):
                    self.blame(worker.in_flight.values())
                self.take(self.broker.tick(self.now))
            else:
                self.now, _, event = heapq.heappop(self.events)
                getattr(self, f"on_{event[0]}")(*event[1:])
            self.check()
        self.check_nothing_is_left()
        return self.seen

    # --- callers ------------------------------------------------------------------------------------

    def on_ask(self) -> None:
        if not self.left:
            return
        self.left -= 1
        self.later(self.random.expovariate(1 / self.load), "ask")
        peer = self.random.choice(self.peers)
        many = self.random.random() < 0.05
        documents = self.random.choices(
            self.texts, k=self.random.randint(10, 61) if many else self.random.randint(1, 4)
        )
        if self.random.random() < self.faults / 4:
            documents.append(POISON)
        query = self.random.choice((b"q1", b"q2", b"q3"))
        deadline_ms = self.random.choice((50, 1000, 5000, None, 100_000))
        max_windows = self.random.choice((None, 1, 3))
        message = Rerank(
            b"%d" % next(self.ids),
            query,
            documents,
            deadline_ms,
            "bulk" if peer.caller in self.bulk_callers else "interactive",
            max_windows=max_windows,
        )
        allowed = min(deadline_ms or LIMITS.default_deadline_ms, LIMITS.max_deadline_ms) / 1000
        self.asked[peer.identity, message.id] = Asked(query, documents, max_windows or 2, self.now + allowed)
        self.take(self.broker.client_message(peer, message, self.now))
        chance = self.random.random()
        if chance < 0.02:
            self.later(self.random.uniform(0, 0.5), "cancel", peer, message.id)
        elif chance < 0.03 and (peer.identity, message.id) in self.asked:
            self.take(self.broker.client_message(peer, message, self.now))  # asked again across a reconnect
        elif chance < 0.032:
            self.later(self.random.uniform(0, 0.5), "leave", peer)

    def on_cancel(self, peer: Peer, request_id: bytes) -> None:
        self.asked.pop((peer.identity, request_id), None)
        self.take(self.broker.client_message(peer, Cancel(request_id), self.now))

    def on_leave(self, peer: Peer) -> None:
        for key in [key for key in self.asked if key[0] == peer.identity]:
            del self.asked[key]
        self.take(self.broker.client_gone(peer.identity, self.now))

    # --- the worker ---------------------------------------------------------------------------------

    def on_worker(self) -> None:
        name = b"w%d" % next(self.worker_ids)
        self.alive[name] = "well"
        self.say(name, WorkerHello(1, "m", "CPU", "f32", 512, self.random.choice((300, 2000))))
        self.later(1.0, "progress", name)

    def say(self, name: bytes, message: object) -> None:
        self.take(self.broker.worker_message(name, message, self.now))  # type: ignore[arg-type]

    def on_progress(self, name: bytes) -> None:
        """Speak once a second; a stuck worker's loop runs, and says for how long its device has stood still."""
        if self.alive.get(name) == "well":
            self.say(name, Progress(0))
            self.later(1.0, "progress", name)
        elif self.alive.get(name) == "stuck":
            stalled_ms = (self.now - self.stuck_since[name]) * 1000
            if self.ends_itself and stalled_ms > DEFAULT_TIMEOUTS.device_stuck * 1000:
                self.blame_all(name)
                self.say(name, WorkerBye("the device hung", fault=True))
                self.leave_stuck(name)
                return
            worker = self.broker._roster.serving
            if stalled_ms > DEFAULT_TIMEOUTS.broker_stall * 1000 and worker is not None and worker.identity == name:
                self.blame_all(name)
            self.say(name, Progress(stalled_ms))
            self.take(self.broker.tick(self.now))
            if name in self.alive:
                self.later(1.0, "progress", name)

    def on_done(self, name: bytes, batch: Batch) -> None:
        if self.alive.get(name) != "well":
            return
        chance = self.random.random()
        if any(document == POISON for _, document in batch.pairs) or chance < self.faults:
            self.on_die(name)
        elif chance < 2 * self.faults:
            self.alive[name] = "silent"  # stopped, or stuck: the socket stays open
            self.later(self.random.uniform(5, 20), "wake", name, batch)
            self.later(self.random.uniform(1, 15), "worker")
        elif chance < 2.5 * self.faults:
            self.alive[name] = "stuck"  # the device hangs: the loop speaks, and nothing is ever finished
            self.stuck_since[name] = self.now
            self.ends_itself = self.random.random() < 0.7
        elif chance < 3 * self.faults:
            worker = self.broker._roster.serving
            if worker is not None and worker.identity == name:
                self.blame([worker.in_flight[batch.batch]] if batch.batch in worker.in_flight else [])
            self.say(name, BatchFailed(batch.batch, "hiccup"))
            self.say(name, Pull())
        elif chance < 3.5 * self.faults:
            self.say(name, WorkerBye())
            del self.alive[name]
            self.later(self.random.uniform(0, 2), "worker")
        else:
            self.say(name, self.result(batch))
            self.say(name, Pull())

    def result(self, batch: Batch) -> BatchResult:
        logits, tokens, windowed = [], [], []
        for position, ((number, document), plan) in enumerate(zip(batch.pairs, batch.plans, strict=True)):
            query = batch.queries[number]
            windows = windows_of(document, plan.max_windows)
            if windows:
                windowed.append(PairWindows(position, windows))
                document = document[: windows[0].end]
            logits.append(logit(query, document))
            tokens.append(4 + len(document) // 4)
        total = sum(tokens)
        return BatchResult(batch.batch, logits, tokens, [], [], total, 1, total / 10, windows=windowed)

    def on_die(self, name: bytes) -> None:
        self.seen["deaths"] += 1
        del self.alive[name]
        self.blame_all(name)
        self.take(self.broker.worker_gone(name, self.now))
        self.later(self.random.uniform(0.1, 3), "worker")

    def leave_stuck(self, name: bytes) -> None:
        """End a stuck worker's process; a supervisor starts the next one."""
        self.seen["stuck"] += 1
        del self.alive[name], self.stuck_since[name]
        self.take(self.broker.worker_gone(name, self.now))
        self.later(self.random.uniform(0.1, 3), "worker")

    def blame_all(self, name: bytes) -> None:
        worker = self.broker._roster.serving
        if worker is not None and worker.identity == name:
            self.blame(worker.in_flight.values())

    def blame(self, batches: Iterable[InFlight]) -> None:
        for batch in batches:
            for entry in batch.entries:
                for peer, request_id, document in {(r.peer, r.id, r.texts[row]) for r, row in entry}:
                    if (asked := self.asked.get((peer, request_id))) is not None:
                        asked.lost[document] += 1

    def on_wake(self, name: bytes, batch: Batch) -> None:
        """A worker that was stopped comes back and answers; if it was given up, it must be told to end itself."""
        if self.alive.get(name) == "silent":
            self.alive[name] = "well"
            standing = self.broker._roster.standing(name)
            serving = self.broker._roster.serving
            self.say(name, self.result(batch))
            self.say(name, Progress(0))
            if standing is Standing.DISMISSED:
                self.seen["revenants"] += 1
                assert name not in self.alive, "a worker that was given up was not dismissed"
                assert serving is None or self.broker._roster.serving is serving, "it took its successor's place"
            elif name in self.alive:
                self.later(1.0, "progress", name)

    # --- what the core does -------------------------------------------------------------------------

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, ToClient):
                self.answered(action)
            elif isinstance(action, ToWorker):
                self.told(action.worker, action.message)

    def answered(self, action: ToClient) -> None:
        message = action.message
        assert isinstance(message, Scores | Refusal)
        asked = self.asked.pop((action.peer, message.id), None)
        assert asked is not None, f"{message.id!r} was answered twice, or after it was cancelled"
        if isinstance(message, Scores):
            self.seen["scores"] += 1
            assert message.scores == [expected(asked.query, document, asked.windows) for document in asked.documents]
            self.check_windows(message, asked)
            self.seen["cached"] += message.cached
            assert POISON not in asked.documents
            assert self.now <= asked.deadline
        else:
            self.seen[message.code] += 1
            if message.code == "overloaded":
                assert (message.retry_after_ms or 0) >= 1000
            if message.code == "failed":
                assert max(asked.lost.values(), default=0) >= 2, "failed, but no pair of it was lost twice"
            if message.code == "deadline_exceeded":
                assert self.now >= asked.deadline

    def check_windows(self, message: Scores, asked: Asked) -> None:
        """A document that was read in windows names the best one, and how many there were."""
        named = {each.index: each for each in message.windowed}
        for index, document in enumerate(asked.documents):
            windows = windows_of(document, asked.windows)
            assert (index in named) == bool(windows)
            if windows:
                best = named[index]
                self.seen["windowed"] += 1
                assert best.windows == len(windows)
                assert logit(asked.query, document[best.start : best.end]) == message.scores[index]

    def told(self, name: bytes, message: object) -> None:
        match message:
            case Batch():
                assert self.alive.get(name) is not None, "a batch for a dead worker"
                self.check_wanted(message)
                if self.alive[name] == "well":
                    self.later(
                        0.001 + sum(len(document) for _, document in message.pairs) / 40_000, "done", name, message
                    )
            case WorkerWelcome():
                self.say(name, Pull())
                self.say(name, Pull())
            case WhoAreYou():
                self.say(name, WorkerHello(1, "m", "CPU", "f32", 512, 1000))
            case Dismissed():
                if self.alive.get(name) == "stuck":
                    self.leave_stuck(name)
                elif self.alive.pop(name, None) == "well" and not message.replaced:
                    self.later(self.random.uniform(0.1, 3), "worker")

    # --- laws ---------------------------------------------------------------------------------------

    def check_wanted(self, batch: Batch) -> None:
        """Nothing runs that nobody waits for; and everybody who waits is served within the stated bound."""
        self.seen["batches"] += 1
        flying = self.broker._roster.serving.in_flight  # type: ignore[union-attr]
        assert len(flying) == 1 or not any(each.isolated for each in flying.values()), "not alone"
        live = {(request.query, text) for request in self.broker._requests.table for text in request.texts}
        for query, document in batch.pairs:
            assert (batch.queries[query], document) in live, "work for the dead"
        served = {request.caller for each in flying.values() for entry in each.entries for request, _ in entry}
        waiting = {request.caller for request in self.broker._requests.table if request.waiting}
        for caller in waiting - served:
            self.batches_since_served[caller] = self.batches_since_served.get(caller, 0) + 1
            assert self.batches_since_served[caller] <= starvation_bound(bulk=caller in self.bulk_callers), caller
        for caller in served | (set(self.batches_since_served) - waiting):
            self.batches_since_served.pop(caller, None)

    def check(self) -> None:
        admission = self.broker._requests.admission
        assert 0 <= admission.pairs <= LIMITS.queued_pairs
        assert 0 <= admission.bytes <= LIMITS.queued_bytes
        assert {(request.peer, request.id) for request in self.broker._requests.table} == self.asked.keys()
        assert len(self.broker._requests.table._due) <= 2 * len(self.asked) + 65

    def worker_holds_nothing(self) -> bool:
        worker = self.broker._roster.serving
        return worker is None or not worker.in_flight

    def check_nothing_is_left(self) -> None:
        broker = self.broker
        assert broker.idle
        assert not broker._queue
        assert broker._queue.tokens == 0
        assert not broker._queue._isolated
        assert not broker._requests.table._by_peer
        assert not broker._queue._identical
        assert not self.worker_holds_nothing() or not broker._queue._started
        assert (broker._requests.admission.pairs, broker._requests.admission.bytes) == (0, 0)
        assert not broker._requests.admission._caller_bytes
        assert not broker._queue._interactive._callers
        assert not broker._queue._bulk._callers


def starvation_bound(*, bulk: bool) -> int:
    """Return in how many batches in a row a caller with waiting pairs can go unserved.

    Five callers: each takes at most a quantum, an advance, what it missed while it was away, and a pair per turn, in
    batches of at least 256 tokens. Pairs that run alone (at most as many as two batches hold) go before all turns.
    Bulk has one batch in ``BULK_EVERY`` to itself.
    """
    turns = 5 * (QUANTUM + ADVANCE + CATCH_UP + 512) // 256 + 1
    alone = 2 * LIMITS.queued_pairs
    return alone + turns * (BULK_EVERY if bulk else 2)


def run_world(requests: int, seed: int) -> Counter[str]:
    """Run one world; an error says how to replay it."""
    try:
        return World(seed, requests).run()
    except Exception as error:
        raise AssertionError(
            f"world {seed} broke a law; replay it with "
            f"'python -m openvino_reranker.tests.broker.world {seed} {requests}': {error!r}"
        ) from error


if __name__ == "__main__":
    print(World(int(sys.argv[1]), int(sys.argv[2])).run())
