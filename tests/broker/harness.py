"""A broker on the harness: messages by hand, time by hand, and what came out of it sorted by receiver."""

from collections.abc import Sequence

from openvino_reranker.broker.actions import Action, Note, ToClient, ToWorker
from openvino_reranker.broker.core import DEFAULT_CACHE_BYTES, Broker
from openvino_reranker.broker.peer import Peer
from openvino_reranker.broker.worker_session import Standing
from openvino_reranker.protocol.client_messages import BrokerMessage, Refusal, Rerank, Scores
from openvino_reranker.protocol.limits import DEFAULT_LIMITS, Limits
from openvino_reranker.protocol.message import RequestClass
from openvino_reranker.protocol.worker_messages import (
    Batch,
    BatchResult,
    BrokerToWorker,
    PairError,
    Pull,
    WorkerHello,
    WorkerMessage,
)


def logit(query: bytes, document: bytes) -> float:
    """The harness's model: any function of the two texts alone."""
    return float(sum(query) * 31 + sum(document) + len(document))


class Harness:
    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, batch_ms: float = 100.0, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> None:
        self.now = 1000.0
        self.broker = Broker("epoch", self.now, limits=limits, batch_ms=batch_ms, cache_bytes=cache_bytes)
        self.to_clients: list[tuple[bytes, BrokerMessage]] = []
        self.to_workers: list[tuple[bytes, BrokerToWorker]] = []
        self.notes: list[str] = []
        self._pulling: set[bytes] = set()
        self._batches: dict[bytes, Batch] = {}

    def take(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case ToClient(peer=peer, message=message):
                    self.to_clients.append((peer, message))
                case ToWorker(worker=worker, message=message):
                    self.to_workers.append((worker, message))
                    if isinstance(message, Batch):
                        self._batches[worker] = message
                case Note(text=text):
                    self.notes.append(text)

    def ask(
        self,
        request_id: bytes,
        documents: Sequence[bytes],
        *,
        peer: bytes = b"peer",
        caller: str | None = None,
        query: bytes = b"query",
        deadline_ms: int | None = None,
        bulk: bool = False,
        max_windows: int | None = None,
        use_cache: bool = True,
    ) -> None:
        priority: RequestClass = "bulk" if bulk else "interactive"
        message = Rerank(
            request_id,
            query,
            list(documents),
            deadline_ms,
            priority,
            caller,
            max_windows=max_windows,
            use_cache=use_cache,
        )
        who = Peer(peer, peer.decode(), trusted=True)
        self.take(self.broker.client_message(who, message, self.now))

    def hello(self, worker: bytes = b"worker", budget: int = 8192, model: str = "model") -> None:
        self._pulling.discard(worker)
        self._batches.pop(worker, None)
        message = WorkerHello(1, model, "CPU", "f32", 512, budget)
        self.take(self.broker.worker_message(worker, message, self.now))

    def say(self, message: WorkerMessage, worker: bytes = b"worker") -> None:
        self.take(self.broker.worker_message(worker, message, self.now))

    def standing(self, worker: bytes = b"worker") -> Standing:
        return self.broker._roster.standing(worker)

    def pull(self, worker: bytes = b"worker") -> Batch | None:
        """Return the batch that answers a pull, if one did; a pull that still waits is not sent again."""
        if worker not in self._pulling:
            self._pulling.add(worker)
            self.take(self.broker.worker_message(worker, Pull(), self.now))
        batch = self._batches.pop(worker, None)
        if batch is not None:
            self._pulling.discard(worker)
        return batch

    def answer(self, batch: Batch, worker: bytes = b"worker", errors: Sequence[PairError] = ()) -> None:
        logits = [logit(batch.queries[query], document) for query, document in batch.pairs]
        self.answer_with(batch, logits, worker, errors)

    def answer_with(
        self, batch: Batch, logits: list[float], worker: bytes = b"worker", errors: Sequence[PairError] = ()
    ) -> None:
        tokens = [3 + len(document) // 4 for _, document in batch.pairs]
        result = BatchResult(batch.batch, logits, tokens, [], list(errors), sum(tokens), 1, float(sum(tokens)))
        self.take(self.broker.worker_message(worker, result, self.now))

    def serve(self, worker: bytes = b"worker") -> int:
        """Pull and answer until nothing waits; return how many batches that took."""
        batches = 0
        while (batch := self.pull(worker)) is not None:
            batches += 1
            self.answer(batch, worker)
        return batches

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.broker.tick(self.now))

    def answers(self, request_id: bytes) -> list[Scores | Refusal]:
        return [
            message
            for _, message in self.to_clients
            if isinstance(message, Scores | Refusal) and message.id == request_id
        ]

    def scores(self, request_id: bytes) -> list[float]:
        (answer,) = self.answers(request_id)
        assert isinstance(answer, Scores), answer
        return answer.scores

    def refusal(self, request_id: bytes) -> Refusal:
        (answer,) = self.answers(request_id)
        assert isinstance(answer, Refusal), answer
        return answer
