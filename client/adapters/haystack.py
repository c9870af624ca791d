"""Haystack: a ranker component, for a pipeline's ``documents`` between retriever and prompt builder."""

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from .ordering import Ordering, ScoredIndex


@component
class OpenVINORanker:
    """Put documents in order of relevance; copies of them, whose score is the relevance (0..1).

    Args:
        endpoint: Where the service is: a URL, a socket's path, or None for the default socket.
        top_k: How many documents to keep; None for all.
        timeout: Seconds until the answer must be there.
        keep_order: Leave order and scores as they are when the service cannot answer, instead of raising.
    """

    def __init__(
        self, endpoint: str | None = None, top_k: int | None = 10, timeout: float = 30.0, keep_order: bool = False
    ) -> None:
        self._settings = {"endpoint": endpoint, "top_k": top_k, "timeout": timeout, "keep_order": keep_order}
        self._ordering = Ordering(endpoint, timeout, keep_order)
        self._top_k = top_k

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Return the ``top_k`` best documents, best first; the component's own ``top_k`` if none is given."""
        return _at(self._ordering.order(query, _texts(documents), top_k or self._top_k), documents)

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Do as ``run`` in an asyncio program."""
        return _at(await self._ordering.aorder(query, _texts(documents), top_k or self._top_k), documents)

    def to_dict(self) -> dict[str, Any]:
        """Return what a serialised pipeline holds of the component."""
        return default_to_dict(self, **self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OpenVINORanker":
        """Make the component that ``to_dict`` described."""
        return default_from_dict(cls, data)


def _texts(documents: list[Document]) -> list[str]:
    return [document.content or "" for document in documents]


def _at(places: list[ScoredIndex], documents: list[Document]) -> dict[str, list[Document]]:
    scored = ((documents[index], relevance) for index, relevance in places)
    return {"documents": [each if relevance is None else replace(each, score=relevance) for each, relevance in scored]}
