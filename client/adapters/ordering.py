"""What all adapters do: order texts through the service, or keep their order on an error if that is set."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..endpoint import async_reranker_at, reranker_at
from ..fallback import arerank_or_keep_order, rerank_or_keep_order
from ..ranking import Ranking

#: A text's index in the list that was given, and its relevance (0..1; None where the order was left as it is).
ScoredIndex = tuple[int, float | None]


@dataclass(frozen=True, slots=True)
class Ordering:
    """Where texts are ordered, how long that may take (s), and whether an error keeps their order."""

    endpoint: str | None
    timeout: float
    keep_order: bool

    def order(self, query: str, texts: Sequence[str], top_k: int | None) -> list[ScoredIndex]:
        """Return the ``top_k`` best, best first.

        Raises:
            RerankError: As ``Reranker.rerank``, unless ``keep_order`` is set.
        """
        if not texts:
            return []
        reranker = reranker_at(self.endpoint)
        if not self.keep_order:
            return _places(reranker.rerank(query, texts, top_k, self.timeout))
        result = rerank_or_keep_order(query, texts, top_k, self.timeout, reranker=reranker)
        return _places(result.ranking) if result.ranking else [(index, None) for index in result.order]

    async def aorder(self, query: str, texts: Sequence[str], top_k: int | None) -> list[ScoredIndex]:
        """Do as ``order`` in an asyncio program."""
        if not texts:
            return []
        reranker = async_reranker_at(self.endpoint)
        if not self.keep_order:
            return _places(await reranker.rerank(query, texts, top_k, self.timeout))
        result = await arerank_or_keep_order(query, texts, top_k, self.timeout, reranker=reranker)
        return _places(result.ranking) if result.ranking else [(index, None) for index in result.order]


def _places(ranking: Ranking) -> list[ScoredIndex]:
    return [(hit.index, hit.relevance_score) for hit in ranking.hits]
