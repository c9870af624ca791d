"""Scores of a judged collection by an engine in this process: no queue, no sockets, no service."""

from collections.abc import Iterator, Sequence

from ..npu_worker.engine import Engine
from ..protocol.worker_messages import Batch
from .judged import JudgedQuery, Quality, by_score, quality

#: Queries scored together. More in one batch pad less, and hold more memory.
_TOGETHER = 8


def score(engine: Engine, queries: Sequence[JudgedQuery]) -> Iterator[list[float]]:
    """Yield one logit for each candidate of each query, in their order.

    Raises:
        DeviceLost: The device failed.
        ValueError: A pair cannot be scored; says which query's.
    """
    for start in range(0, len(queries), _TOGETHER):
        chunk = queries[start : start + _TOGETHER]
        pairs = [(place, text.encode()) for place, query in enumerate(chunk) for text in query.texts]
        result = engine.run(Batch(0, [query.query.encode() for query in chunk], pairs))
        if result.errors:
            place, _ = pairs[result.errors[0].position]
            raise ValueError(f"query {chunk[place].qid}: {result.errors[0].message}")
        logits = iter(result.logits)
        for query in chunk:
            yield [next(logits) for _ in query.texts]


def measure(queries: Sequence[JudgedQuery], scores: Sequence[Sequence[float]]) -> Quality:
    """Return the quality of the order that scores give a collection."""
    return quality(queries, [by_score(query, logits) for query, logits in zip(queries, scores, strict=True)])
