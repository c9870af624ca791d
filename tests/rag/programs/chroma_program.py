"""Ask the example's collection with the service, without it, and with reranking off; print what came and what changed.

Arguments: the folder of the example, the corpus, a new folder for the collection, a URL, then the questions.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from openvino_reranker.client import RagSettings


def fingerprint(folder: Path, collection: Any) -> str:
    """Return a hash of every file of the collection and of every record in it."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    records = collection.get(include=["embeddings", "documents", "metadatas"])
    found.update(records["embeddings"].tobytes())
    found.update(json.dumps([records["ids"], records["documents"], records["metadatas"]]).encode())
    return found.hexdigest()


def main(example: str, corpus: str, folder: str, url: str, *questions: str) -> None:
    sys.path.insert(0, example)
    import rag_chroma  # type: ignore[import-not-found]

    embeddings = rag_chroma.Embeddings()
    collection = rag_chroma.open_collection(Path(folder), embeddings, Path(corpus))
    collection.query(embeddings.of(["warm"]), n_results=1)  # Chroma loads its index at the first question
    before = fingerprint(Path(folder), collection)
    answers = []
    for settings in (
        RagSettings(enabled=True, url=url, timeout_ms=60_000),
        RagSettings(enabled=True, url="http://127.0.0.1:1"),
        RagSettings(enabled=False),
    ):
        for question in questions:
            candidates, kept = rag_chroma.retrieve(collection, embeddings, settings, question)
            answers.append(
                {
                    "candidates": [candidate["id"] for candidate in candidates],
                    "kept": [passage["id"] for passage in kept.documents],
                    "rerank_error": kept.rerank_error,
                }
            )
    print(json.dumps({"answers": answers, "unchanged": fingerprint(Path(folder), collection) == before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
