"""LlamaIndex: a node postprocessor, for ``node_postprocessors=[...]`` of a query engine or retriever."""

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from .ordering import Ordering, ScoredIndex


class OpenVINORerank(BaseNodePostprocessor):
    """Put nodes in order of relevance; their scores become the relevance (0..1), the nodes stay as they are.

    Attributes:
        endpoint: Where the service is: a URL, a socket's path, or None for the default socket.
        top_n: How many nodes to keep; None for all.
        timeout: Seconds until the answer must be there.
        keep_order: Leave order and scores as they are when the service cannot answer, instead of raising.
    """

    endpoint: str | None = None
    top_n: int | None = None
    timeout: float = 30.0
    keep_order: bool = False

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex writes into a serialised pipeline."""
        return "OpenVINORerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query, texts = _texts(nodes, query_bundle)
        return _at(self._ordering.order(query, texts, self.top_n), nodes)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query, texts = _texts(nodes, query_bundle)
        return _at(await self._ordering.aorder(query, texts, self.top_n), nodes)

    @property
    def _ordering(self) -> Ordering:
        return Ordering(self.endpoint, self.timeout, self.keep_order)


def _texts(nodes: list[NodeWithScore], query: QueryBundle | None) -> tuple[str, list[str]]:
    if query is None:
        raise ValueError("a query is needed to rerank nodes: pass query_bundle or query_str")
    return query.query_str, [node.node.get_content(MetadataMode.EMBED) for node in nodes]


def _at(places: list[ScoredIndex], nodes: list[NodeWithScore]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=nodes[index].node, score=nodes[index].score if relevance is None else relevance)
        for index, relevance in places
    ]
