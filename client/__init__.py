"""The client: use the local rerank service from Python. Needs only pyzmq and msgspec."""

from ..protocol.errors import (
    DeadlineExceeded,
    Failed,
    InvalidArgument,
    InvalidRequest,
    Overloaded,
    RerankError,
    ServiceError,
    TooLarge,
    Unavailable,
    WrongVersion,
)
from .aio import AsyncReranker
from .fallback import FallbackResult, KeptOrReranked, arerank_or_keep_order, rerank_or_keep_order
from .over_http import AsyncHttpReranker, HttpReranker
from .rag import RagSettingError, RagSettings
from .ranking import Hit, Ranking, Span
from .sync import Reranker

__all__ = [
    "AsyncHttpReranker",
    "AsyncReranker",
    "DeadlineExceeded",
    "Failed",
    "FallbackResult",
    "Hit",
    "HttpReranker",
    "InvalidArgument",
    "InvalidRequest",
    "KeptOrReranked",
    "Overloaded",
    "RagSettingError",
    "RagSettings",
    "Ranking",
    "RerankError",
    "Reranker",
    "ServiceError",
    "Span",
    "TooLarge",
    "Unavailable",
    "WrongVersion",
    "arerank_or_keep_order",
    "rerank_or_keep_order",
]
