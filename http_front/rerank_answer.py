"""A ranking as the JSON that rerank clients read (the superset of Cohere's and Jina's answers, and our own fields)."""

from typing import Any

from ..client.ranking import Ranking
from .rerank_body import RerankBody


def rerank_answer(ranking: Ranking, body: RerankBody, request_id: str, total_ms: float) -> dict[str, Any]:
    """Return the answer's JSON object.

    Args:
        ranking: The order and the scores.
        body: The request it answers.
        request_id: The answer's ``id``.
        total_ms: From the request's arrival here to now, ms.
    """
    results = []
    for hit in ranking.hits:
        result: dict[str, Any] = {"index": hit.index}
        if hit.id is not None:
            result["id"] = hit.id
        result["relevance_score"] = hit.relevance_score
        result["score"] = hit.score
        result["truncated"] = hit.truncated
        result["windows"] = hit.windows
        result["window"] = {"start": hit.window.start, "end": hit.window.end}
        if body.return_documents:
            result["document"] = {"text": body.texts[hit.index].decode()}
        results.append(result)
    cut = sum(hit.truncated for hit in ranking.hits)
    warnings = [f"{cut} of the returned documents were not read to their end"] if cut else []
    return {
        "ok": True,
        "id": request_id,
        "object": "rerank",
        "model": ranking.model,
        "device": ranking.device,
        "precision": ranking.precision,
        "npu_busy_delta_us": ranking.npu_busy_delta_us,
        "timings_ms": {
            "queue": ranking.timings_ms.queue,
            "inference": ranking.timings_ms.inference,
            "total": round(total_ms, 3),
        },
        "cached": ranking.cached,
        "results": results,
        "usage": {"prompt_tokens": ranking.tokens, "total_tokens": ranking.tokens},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": ranking.tokens, "output_tokens": 0},
            "warnings": warnings,
        },
    }
