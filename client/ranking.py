"""Rankings: what the service's logits say about the documents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..protocol.client_messages import Scores, Timings


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a document's text: its characters from ``start`` up to ``end``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One document of a ranking.

    Attributes:
        index: Its place in the list that was sent.
        id: The ``id`` it was sent with, if any.
        score: The model's raw logit, any finite number; only its order means something.
        relevance_score: The logit's sigmoid, 0..1.
        truncated: The model did not read its end.
        windows: How many windows it was read in; 1 where it fits the model.
        window: The window whose score is the document's.
    """

    index: int
    id: str | None
    score: float
    relevance_score: float
    truncated: bool
    windows: int
    window: Span


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents in order of relevance, best first, and what the service reported.

    Attributes:
        hits: The ``top_k`` best (all without ``top_k``), by logit descending, ties by index.
        model: The model's name.
        device: The device it ran on (``NPU``, ``CPU``, ``GPU``).
        precision: The precision of the arithmetic (``f32``, ``bf16``, ``f16``).
        npu_busy_delta_us: How far the NPU driver's busy counter rose meanwhile, µs; None off the NPU.
        timings_ms: queue, inference and total, ms.
        tokens: Tokens the model read.
        cached: Documents answered from the service's score cache.
    """

    hits: tuple[Hit, ...]
    model: str
    device: str
    precision: str
    npu_busy_delta_us: int | None
    timings_ms: Timings
    tokens: int
    cached: int = 0

    @property
    def order(self) -> list[int]:
        """The documents' indexes, best first."""
        return [hit.index for hit in self.hits]


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + e^-logit) without overflow at either end."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)


def rank(answer: Scores, texts: Sequence[bytes], ids: Sequence[str | None], top_k: int | None) -> Ranking:
    """Order the documents of an answer.

    Args:
        answer: One logit per document.
        texts: The documents' UTF-8, in the same order.
        ids: Their ids, in the same order.
        top_k: How many to keep; None or 0 for all.
    """
    logits = answer.scores
    order = sorted(range(len(logits)), key=lambda index: (-logits[index], index))
    truncated = set(answer.truncated)
    windowed = {document.index: document for document in answer.windowed}

    def hit(index: int) -> Hit:
        logit, text, windows = logits[index], texts[index], 1
        start, end = 0, len(text)
        if (document := windowed.get(index)) is not None:
            windows, start, end = document.windows, document.start, document.end
        window = Span(_characters(text[:start]), _characters(text[:end]))
        return Hit(index, ids[index], logit, sigmoid(logit), index in truncated, windows, window)

    served = answer.served
    return Ranking(
        hits=tuple(map(hit, order[: top_k or None])),
        model=served.model,
        device=served.device,
        precision=served.precision,
        npu_busy_delta_us=served.npu_busy_delta_us,
        timings_ms=answer.timings_ms,
        tokens=answer.tokens,
        cached=answer.cached,
    )


def _characters(utf8: bytes) -> int:
    return len(utf8) if utf8.isascii() else len(utf8.decode())
