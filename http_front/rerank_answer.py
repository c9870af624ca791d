"""A ranking as the JSON that rerank clients read: one function for each form an answer has."""

import enum
from dataclasses import dataclass
from typing import Any

import msgspec

from ..client.ranking import Hit, Ranking


class Document(enum.Enum):
    """How a result shows its document: ``"document": {"text": …}``, ``"document": …`` or ``"text": …``."""

    OBJECT = enum.auto()
    STRING = enum.auto()
    TEXT = enum.auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer is made of.

    Attributes:
        ranking: The order and the scores.
        texts: The documents that were sent, as UTF-8.
        document: How to show them; None: not at all.
        raw_scores: The score that clients read is the logit, not its sigmoid.
        score_threshold: Results whose score is below are left out.
        request_id: The answer's ``id``.
        total_ms: From the request's arrival here to now, ms.
        warnings: What the caller should know.
    """

    ranking: Ranking
    texts: list[bytes]
    document: Document | None
    raw_scores: bool
    score_threshold: float | None
    request_id: str
    total_ms: float
    warnings: tuple[str, ...] = ()

    @property
    def hits(self) -> list[Hit]:
        """The results to show, best first."""
        least = self.score_threshold
        return [hit for hit in self.ranking.hits if least is None or self.score(hit) >= least]

    def score(self, hit: Hit) -> float:
        """Return the score that clients read."""
        return hit.score if self.raw_scores else hit.relevance_score

    def shown(self, hit: Hit) -> dict[str, Any]:
        """Return the fields of a result that show its document."""
        if self.document is None:
            return {}
        text = self.text(hit)
        match self.document:
            case Document.OBJECT:
                return {"document": {"text": text}}
            case Document.STRING:
                return {"document": text}
            case Document.TEXT:
                return {"text": text}

    def text(self, hit: Hit) -> msgspec.Raw:
        """Return a document's text as JSON, made one by one: as strings they could take four times the space."""
        return msgspec.Raw(msgspec.json.encode(self.texts[hit.index].decode()))


def superset(answer: Answer) -> dict[str, Any]:
    """Return the superset of Cohere's, Jina's and Infinity's answers, and our own fields."""
    ranking = answer.ranking
    cut = sum(hit.truncated for hit in answer.hits)
    warnings = [*answer.warnings]
    if cut:
        warnings.append(f"{cut} of the returned documents were not read to their end")
    return {
        "ok": True,
        "id": answer.request_id,
        "object": "rerank",
        "model": ranking.model,
        "device": ranking.device,
        "precision": ranking.precision,
        "npu_busy_delta_us": ranking.npu_busy_delta_us,
        "cached": ranking.cached,
        "timings_ms": {
            "queue": ranking.timings_ms.queue,
            "inference": ranking.timings_ms.inference,
            "total": round(answer.total_ms, 3),
        },
        "results": [_result(answer, hit) for hit in answer.hits],
        "usage": {"prompt_tokens": ranking.tokens, "total_tokens": ranking.tokens},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": ranking.tokens, "output_tokens": 0},
            "warnings": warnings,
        },
    }


def _result(answer: Answer, hit: Hit) -> dict[str, Any]:
    result: dict[str, Any] = {"index": hit.index}
    if hit.id is not None:
        result["id"] = hit.id
    result["relevance_score"] = answer.score(hit)
    result["score"] = hit.score
    result["truncated"] = hit.truncated
    result["windows"] = hit.windows
    result["window"] = {"start": hit.window.start, "end": hit.window.end}
    return result | answer.shown(hit)


def voyage_list(answer: Answer) -> dict[str, Any]:
    """Return Voyage's answer: the superset with ``data`` in the place of ``results``."""
    body = superset(answer)
    data = body.pop("results")
    return body | {"object": "list", "data": data}


def bare_list(answer: Answer) -> list[dict[str, Any]]:
    """Return text-embeddings-inference's answer."""
    return [{"index": hit.index, "score": answer.score(hit)} | answer.shown(hit) for hit in answer.hits]


def with_scores(answer: Answer) -> dict[str, Any]:
    """Return Weaviate's answer: the superset and ``scores``."""
    scores = [{"document": answer.text(hit), "score": answer.score(hit)} for hit in answer.hits]
    return superset(answer) | {"scores": scores}
