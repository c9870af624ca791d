"""How good an order is: nDCG, reciprocal rank and recall of a ranking, given graded judgements.

Pure functions of a ranking (ids, best first, each once) and of ``qrels`` (id to grade). A document without a grade
counts as 0; relevant is what has a grade above 0. All of them lie between 0 and 1.
"""

import math
from collections.abc import Mapping, Sequence


def ndcg(ranking: Sequence[str], qrels: Mapping[str, float], k: int) -> float:
    """Return the normalised discounted cumulative gain of the first ``k``.

    The gain is the grade and the discount log2(rank + 1), as in Järvelin and Kekäläinen (2002) and trec_eval. The
    ideal is taken over all judged documents, also those that the ranking does not hold.

    Raises:
        ValueError: No document is relevant, so that there is no ideal.
    """
    ideal = _gain(sorted(qrels.values(), reverse=True)[:k])
    if not ideal:
        raise ValueError("no document is relevant")
    return _gain([qrels.get(document, 0) for document in ranking[:k]]) / ideal


def reciprocal_rank(ranking: Sequence[str], qrels: Mapping[str, float], k: int) -> float:
    """Return 1 / the rank of the first relevant document among the first ``k``; 0 where there is none."""
    return next((1 / rank for rank, document in enumerate(ranking[:k], 1) if qrels.get(document, 0) > 0), 0.0)


def recall(ranking: Sequence[str], qrels: Mapping[str, float], k: int) -> float:
    """Return the share of all relevant documents that is among the first ``k``.

    Raises:
        ValueError: No document is relevant.
    """
    relevant = {document for document, grade in qrels.items() if grade > 0}
    if not relevant:
        raise ValueError("no document is relevant")
    return len(relevant.intersection(ranking[:k])) / len(relevant)


def _gain(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
