"""Where the service is: its HTTP port or its socket, under one name."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..protocol.socket_paths import find_requests_socket
from .aio import AsyncReranker
from .encoding import Document
from .over_http import AsyncHttpReranker, HttpReranker
from .ranking import Ranking
from .sync import Reranker


class SupportsRerank(Protocol):
    """What ``Reranker`` and ``HttpReranker`` have in common."""

    def rerank(
        self,
        query: str,
        documents: Sequence[Document],
        top_k: int | None = None,
        timeout: float = 30.0,
        *,
        use_cache: bool = True,
        grace: float = ...,
    ) -> Ranking:
        """Return the documents in order of relevance."""
        ...


class SupportsAsyncRerank(Protocol):
    """What ``AsyncReranker`` and ``AsyncHttpReranker`` have in common."""

    async def rerank(
        self, query: str, documents: Sequence[Document], top_k: int | None = None, timeout: float = 30.0
    ) -> Ranking:
        """Return the documents in order of relevance."""
        ...


def check_endpoint(endpoint: str | None) -> None:
    """Check that ``endpoint`` is a URL, an absolute path, or empty.

    Raises:
        ValueError: Neither a URL nor an absolute path nor nothing.
    """
    if endpoint and not endpoint.startswith("/"):
        try:
            HttpReranker(endpoint)
        except ValueError:
            raise ValueError("an http URL, the path of a requests.sock, or empty for the usual socket") from None


def reranker_at(endpoint: str | None) -> Reranker | HttpReranker:
    """Return the process's reranker for an endpoint.

    Args:
        endpoint: A URL, the absolute path of a socket, or nothing for the default socket.

    Raises:
        ValueError: It is none of these.
    """
    if not endpoint or endpoint.startswith("/"):
        return _over_socket(Path(endpoint) if endpoint else find_requests_socket())
    return _over_http(endpoint)


def async_reranker_at(endpoint: str | None) -> AsyncReranker | AsyncHttpReranker:
    """Return the process's async reranker for an endpoint, as ``reranker_at``; any event loop may use it."""
    if not endpoint or endpoint.startswith("/"):
        return _async_over_socket(Path(endpoint) if endpoint else find_requests_socket())
    return _async_over_http(endpoint)


# One for each, kept so that its connection is.
_over_socket = functools.cache(Reranker)
_async_over_socket = functools.cache(AsyncReranker)
_over_http = functools.cache(HttpReranker)
_async_over_http = functools.cache(AsyncHttpReranker)
