"""What a Haystack program does with the adapter; ends with an error where something does not hold."""

import asyncio
import sys

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from openvino_reranker.client import Unavailable
from openvino_reranker.client.adapters.haystack import OpenVINORanker

QUESTION = "how many people live in Berlin?"
DOCUMENTS = [
    Document(content="Berlin is well known for its museums.", id="museums", meta={"source": "a.txt"}, score=0.5),
    Document(content="Bread rises in a warm place.", id="bread", meta={"source": "b.txt"}, score=0.4),
    Document(content="Berlin had a population of 3,520,031 registered inhabitants.", id="people", score=0.3),
]
NOBODY = "http://127.0.0.1:1"


def ids(answer: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in answer["documents"]]


def main(endpoint: str) -> None:
    ranker = OpenVINORanker(endpoint, top_k=2)
    ranked = ranker.run(query=QUESTION, documents=DOCUMENTS)
    assert ids(ranked) == ["people", "museums"], ranked
    first, second = ranked["documents"]
    assert 1 > first.score > second.score > 0, ranked
    assert (second.content, second.meta) == (DOCUMENTS[0].content, {"source": "a.txt"})
    assert [document.score for document in DOCUMENTS] == [0.5, 0.4, 0.3], "the retriever's documents were changed"
    assert ids(ranker.run(query=QUESTION, documents=DOCUMENTS, top_k=1)) == ["people"]
    assert ids(asyncio.run(ranker.run_async(query=QUESTION, documents=DOCUMENTS))) == ["people", "museums"]
    assert ranker.run(query=QUESTION, documents=[]) == {"documents": []}

    store = InMemoryDocumentStore()
    store.write_documents(DOCUMENTS)
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=3))
    pipeline.add_component("ranker", ranker)
    pipeline.connect("retriever.documents", "ranker.documents")
    asked = {"retriever": {"query": QUESTION}, "ranker": {"query": QUESTION}}
    assert ids(pipeline.run(asked)["ranker"]) == ["people", "museums"]
    assert ids(asyncio.run(pipeline.run_async(asked))["ranker"]) == ["people", "museums"]
    loaded = OpenVINORanker.from_dict(ranker.to_dict())
    assert loaded.to_dict() == ranker.to_dict()
    assert ids(loaded.run(query=QUESTION, documents=DOCUMENTS)) == ["people", "museums"]

    for ask in (
        lambda adapter: adapter.run(query=QUESTION, documents=DOCUMENTS),
        lambda adapter: asyncio.run(adapter.run_async(query=QUESTION, documents=DOCUMENTS)),
    ):
        try:
            ask(OpenVINORanker(NOBODY))
        except Unavailable:
            pass
        else:
            raise AssertionError("trouble was hidden")
        assert ask(OpenVINORanker(NOBODY, keep_order=True, top_k=2))["documents"] == DOCUMENTS[:2]
    print("all held")


if __name__ == "__main__":
    main(sys.argv[1])
