"""A judged collection through a running service: its rankings, and their quality beside the first stage's."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ..client.endpoint import SupportsRerank
from ..client.ranking import Ranking
from ..protocol.errors import RerankError
from .judged import DEPTH, JudgedQuery, Quality, quality
from .metrics import ndcg

#: Queries in progress at once: enough for the service to fill its batches from several.
IN_FLIGHT = 4
#: One of them may wait behind whatever else the service does, s.
TIMEOUT_S = 300.0


class QueryFailed(Exception):
    """A query was answered with an error; the message names both."""


def rerank_all(
    reranker: SupportsRerank, queries: Sequence[JudgedQuery], on_answer: Callable[[], object]
) -> tuple[list[Ranking], float]:
    """Have the device rank every query's candidates; return the rankings, and how long all took, s.

    Args:
        reranker: Asks the service, from several threads.
        queries: The collection.
        on_answer: Called after each answer, in any thread.

    Raises:
        QueryFailed: The service answered one of them with an error; the rest is given up.
    """

    def ask(query: JudgedQuery) -> Ranking:
        try:
            ranking = reranker.rerank(query.query, query.texts, timeout=TIMEOUT_S, use_cache=False)
        except RerankError as error:
            raise QueryFailed(f"query {query.qid}: {error}") from error
        on_answer()
        return ranking

    started = time.perf_counter()
    pool = ThreadPoolExecutor(IN_FLIGHT)
    try:
        rankings = [future.result() for future in [pool.submit(ask, query) for query in queries]]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return rankings, time.perf_counter() - started


def evaluate(queries: Sequence[JudgedQuery], rankings: Sequence[Ranking], seconds: float) -> dict[str, Any]:
    """Return what the service made of a collection, of which at least one query is measurable.

    Args:
        queries: The collection.
        rankings: A ranking of all candidates for each query.
        seconds: How long all rankings took.
    """
    reranked = [[query.ids[index] for index in ranking.order] for query, ranking in zip(queries, rankings, strict=True)]
    gains = [
        ndcg(second, query.qrels, DEPTH) - ndcg(query.ids, query.qrels, DEPTH)
        for query, second in zip(queries, reranked, strict=True)
        if query.measurable
    ]
    pairs = sum(len(query.ids) for query in queries)
    return {
        "model": rankings[0].model,
        "device": rankings[0].device,
        "precision": rankings[0].precision,
        "queries": len(queries),
        "queries_without_a_relevant_document": len(queries) - len(gains),
        "pairs": pairs,
        "tokens": sum(ranking.tokens for ranking in rankings),
        "truncated": sum(hit.truncated for ranking in rankings for hit in ranking.hits),
        "seconds": round(seconds, 2),
        "pairs_per_s": round(pairs / seconds, 2),
        "first_stage": _named(quality(queries, [query.ids for query in queries])),
        "second_stage": _named(quality(queries, reranked)),
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
    }


def _named(measured: Quality) -> dict[str, float]:
    return {f"{name}@{DEPTH}": round(value, 4) for name, value in asdict(measured).items()}


def table(report: dict[str, Any]) -> str:
    """Return a report as text."""
    precision = f" ({report['precision']})" if report["precision"] else ""
    first, second = report["first_stage"], report["second_stage"]
    labels = {"ndcg": "nDCG", "mrr": "MRR", "recall": "recall"}
    rows = [("first stage", first, ""), ("second stage", second, "")]
    rows.append(("difference", {name: second[name] - first[name] for name in first}, "+"))
    lines = [
        f"{report['model']} on {report['device']}{precision}, {report['target']}",
        f"{report['queries']} queries, {report['pairs']} pairs in {report['seconds']:.1f} s: "
        f"{report['pairs_per_s']:.1f} pairs/s",
        "",
        f"{'':<14}" + "".join(f"{labels[name.split('@')[0]]:>8}@{DEPTH}" for name in first),
        *(f"{label:<14}" + "".join(f"{row[name]:>{sign}11.4f}" for name in first) for label, row, sign in rows),
        "",
        f"nDCG@{DEPTH} is better than the first stage's for {report['better']} queries and worse for {report['worse']}",
    ]
    if report["queries_without_a_relevant_document"]:
        count = report["queries_without_a_relevant_document"]
        lines.append(f"left out of the means: {count} queries without a relevant document")
    if report["truncated"]:
        lines.append(f"{report['truncated']} documents were longer than the model reads")
    return "\n".join(lines)
