"""The call a RAG program makes: better order if the service is there, the vector order if not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..protocol.errors import DeadlineExceeded, InvalidArgument, RerankError
from .arguments import GRACE_S, TIMED_OUT, check_top_k
from .encoding import Document, check_documents
from .endpoint import SupportsAsyncRerank, SupportsRerank, async_reranker_at, reranker_at
from .ranking import Ranking

#: Share of the time reserved for receiving the service's own timeout error.
_GRACE_SHARE = 0.1

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class FallbackResult(Generic[D]):
    """The documents to use, and how they were ordered.

    Attributes:
        documents: The ``top_k`` best, in order; the first ``top_k`` as given when ``rerank_error`` is set.
        order: Their indexes in the list that was given.
        ranking: The scores; None when the given order was kept.
        rerank_error: Why the given order was kept (``code: message``); None when it was not.
    """

    documents: list[D]
    order: list[int]
    ranking: Ranking | None
    rerank_error: str | None


#: What ``FallbackResult`` was called in 0.1.
KeptOrReranked = FallbackResult


def rerank_or_keep_order(
    query: str,
    documents: Sequence[D],
    top_k: int | None = None,
    timeout: float = 3.0,
    *,
    reranker: SupportsRerank | None = None,
) -> FallbackResult[D]:
    """Rerank if the service can, keep the given order if it cannot. Never raises because of the service.

    Args:
        query: The query.
        documents: In the vector store's order, best first; nothing is written back to the store.
        top_k: How many to keep; None or 0 for all.
        timeout: Seconds after which the given order is kept, at most.
        reranker: The one to use, a ``Reranker`` or an ``HttpReranker``; the process's own on the default socket if
            not given.

    Raises:
        InvalidArgument: The call is wrong whatever its texts are: a negative ``top_k``, a bare string for the
            documents. (A text that is too long or not valid Unicode is data: the order is kept.)
    """
    check_top_k(top_k)
    check_documents(documents)
    if not documents:
        return FallbackResult([], [], None, None)
    grace = min(GRACE_S, timeout * _GRACE_SHARE)
    try:
        target = reranker or reranker_at(None)
        return _reranked(documents, target.rerank(query, documents, top_k, timeout - grace, grace=grace))
    except InvalidArgument:
        raise
    except RerankError as error:
        return _kept(documents, top_k, error)


async def arerank_or_keep_order(
    query: str,
    documents: Sequence[D],
    top_k: int | None = None,
    timeout: float = 3.0,
    *,
    reranker: SupportsAsyncRerank | None = None,
) -> FallbackResult[D]:
    """Do as ``rerank_or_keep_order`` in an asyncio program, with an ``AsyncReranker`` or ``AsyncHttpReranker``."""
    check_top_k(top_k)
    check_documents(documents)
    if not documents:
        return FallbackResult([], [], None, None)
    try:
        target = reranker or async_reranker_at(None)
        async with asyncio.timeout(timeout):
            grace = min(GRACE_S, timeout * _GRACE_SHARE)
            return _reranked(documents, await target.rerank(query, documents, top_k, timeout - grace))
    except InvalidArgument:
        raise
    except TimeoutError:
        return _kept(documents, top_k, DeadlineExceeded(TIMED_OUT.format(timeout)))
    except RerankError as error:
        return _kept(documents, top_k, error)


def _reranked(documents: Sequence[D], ranking: Ranking) -> FallbackResult[D]:
    return FallbackResult([documents[index] for index in ranking.order], ranking.order, ranking, None)


def _kept(documents: Sequence[D], top_k: int | None, error: RerankError) -> FallbackResult[D]:
    kept = list(documents[: top_k or None])
    return FallbackResult(kept, list(range(len(kept))), None, f"{error.code}: {error.message}")
