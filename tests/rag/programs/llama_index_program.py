"""What a LlamaIndex program does with the adapter; ends with an error where something does not hold."""

import asyncio
import sys

from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import NodeWithScore, TextNode
from openvino_reranker.client import Unavailable
from openvino_reranker.client.adapters.llama_index import OpenVINORerank

QUESTION = "how many people live in Berlin?"
NODES = [
    TextNode(text="Berlin is well known for its museums.", id_="museums", metadata={"source": "a.txt"}),
    TextNode(text="Bread rises in a warm place.", id_="bread", metadata={"source": "b.txt"}),
    TextNode(text="Berlin had a population of 3,520,031 registered inhabitants.", id_="people"),
]
NOBODY = "http://127.0.0.1:1"


def ids(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.node_id for node in nodes]


def main(endpoint: str) -> None:
    reranker = OpenVINORerank(endpoint=endpoint, top_n=2)
    given = [NodeWithScore(node=node, score=0.5 - place / 10) for place, node in enumerate(NODES)]
    ranked = reranker.postprocess_nodes(given, query_str=QUESTION)
    assert ids(ranked) == ["people", "museums"], ranked
    assert 1 > ranked[0].score > ranked[1].score > 0, ranked
    assert ranked[1].node is NODES[0]
    assert ranked[1].node.metadata == {"source": "a.txt"}
    assert [node.score for node in given] == [0.5, 0.4, 0.3], "the retriever's nodes were changed"
    assert ids(asyncio.run(reranker.apostprocess_nodes(given, query_str=QUESTION))) == ["people", "museums"]
    assert reranker.postprocess_nodes([], query_str=QUESTION) == []
    loaded = OpenVINORerank.from_dict(reranker.to_dict())
    assert (loaded.endpoint, loaded.top_n) == (endpoint, 2)

    Settings.llm = MockLLM()
    engine = VectorStoreIndex(NODES, embed_model=MockEmbedding(embed_dim=4)).as_query_engine(
        response_mode="no_text", similarity_top_k=3, node_postprocessors=[reranker]
    )
    assert ids(engine.query(QUESTION).source_nodes) == ["people", "museums"]
    assert ids(asyncio.run(engine.aquery(QUESTION)).source_nodes) == ["people", "museums"]

    try:
        reranker.postprocess_nodes(given)
    except ValueError:
        pass
    else:
        raise AssertionError("nodes were ranked for no query")
    for ask in (
        lambda adapter: adapter.postprocess_nodes(given, query_str=QUESTION),
        lambda adapter: asyncio.run(adapter.apostprocess_nodes(given, query_str=QUESTION)),
    ):
        try:
            ask(OpenVINORerank(endpoint=NOBODY))
        except Unavailable:
            pass
        else:
            raise AssertionError("trouble was hidden")
        kept = ask(OpenVINORerank(endpoint=NOBODY, keep_order=True, top_n=2))
        assert (ids(kept), [node.score for node in kept]) == (["museums", "bread"], [0.5, 0.4])
    print("all held")


if __name__ == "__main__":
    main(sys.argv[1])
