"""What a LangChain program does with the adapter; ends with an error where something does not hold."""

import asyncio
import sys

from langchain_core.documents import BaseDocumentCompressor, Document
from openvino_reranker.client import Unavailable
from openvino_reranker.client.adapters.langchain import OpenVINORerank

QUESTION = "how many people live in Berlin?"
DOCUMENTS = [
    Document(
        "Berlin is well known for its museums.", id="museums", metadata={"source": "a.txt", "nested": {"page": 1}}
    ),
    Document("Bread rises in a warm place.", id="bread", metadata={"source": "b.txt"}),
    Document("Berlin had a population of 3,520,031 registered inhabitants.", id="people", metadata={"source": "c.txt"}),
]
NOBODY = "http://127.0.0.1:1"


def main(endpoint: str) -> None:
    compressor = OpenVINORerank(endpoint=endpoint, top_n=2)
    assert isinstance(compressor, BaseDocumentCompressor)
    ranked = compressor.compress_documents(DOCUMENTS, QUESTION)
    assert [document.id for document in ranked] == ["people", "museums"], ranked
    scores = [document.metadata["relevance_score"] for document in ranked]
    assert 1 > scores[0] > scores[1] > 0, scores
    assert ranked[1].page_content == DOCUMENTS[0].page_content
    assert ranked[1].metadata == {"source": "a.txt", "nested": {"page": 1}, "relevance_score": scores[1]}
    assert DOCUMENTS[0].metadata == {"source": "a.txt", "nested": {"page": 1}}, "the retriever's document was changed"

    again = asyncio.run(compressor.acompress_documents(DOCUMENTS, QUESTION))
    assert [document.id for document in again] == ["people", "museums"]
    assert len(OpenVINORerank(endpoint=endpoint).compress_documents(DOCUMENTS, QUESTION)) == 3
    assert compressor.compress_documents([], QUESTION) == []

    for ask in (
        lambda adapter: adapter.compress_documents(DOCUMENTS, QUESTION),
        lambda adapter: asyncio.run(adapter.acompress_documents(DOCUMENTS, QUESTION)),
    ):
        try:
            ask(OpenVINORerank(endpoint=NOBODY))
        except Unavailable:
            pass
        else:
            raise AssertionError("trouble was hidden")
        assert list(ask(OpenVINORerank(endpoint=NOBODY, keep_order=True, top_n=2))) == DOCUMENTS[:2]
    print("all held")


if __name__ == "__main__":
    main(sys.argv[1])
