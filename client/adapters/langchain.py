"""LangChain: a document compressor, for ``ContextualCompressionRetriever`` and anywhere else that accepts one."""

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from .ordering import Ordering, ScoredIndex


class OpenVINORerank(BaseDocumentCompressor):
    """Put documents in order of relevance; copies of them, with ``relevance_score`` added to their metadata.

    Attributes:
        endpoint: Where the service is: a URL, a socket's path, or None for the default socket.
        top_n: How many documents to keep; None for all.
        timeout: Seconds until the answer must be there.
        keep_order: Leave the order as it is when the service cannot answer, instead of raising.
    """

    endpoint: str | None = None
    top_n: int | None = None
    timeout: float = 30.0
    keep_order: bool = False

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002
    ) -> Sequence[Document]:
        """Return the ``top_n`` best documents, best first. ``callbacks`` is ignored."""
        texts = [document.page_content for document in documents]
        return _at(self._ordering.order(query, texts, self.top_n), documents)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002
    ) -> Sequence[Document]:
        """Return the ``top_n`` best documents, best first."""
        texts = [document.page_content for document in documents]
        return _at(await self._ordering.aorder(query, texts, self.top_n), documents)

    @property
    def _ordering(self) -> Ordering:
        return Ordering(self.endpoint, self.timeout, self.keep_order)


def _at(places: list[ScoredIndex], documents: Sequence[Document]) -> list[Document]:
    return [
        documents[index]
        if relevance is None
        else documents[index].model_copy(
            update={"metadata": documents[index].metadata | {"relevance_score": relevance}}
        )
        for index, relevance in places
    ]
