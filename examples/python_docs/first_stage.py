"""The first stage: BM25 fetches 20 candidates for each question, and ``judged.jsonl`` is written from them.

Run it after a change of ``passages.jsonl`` or ``questions.jsonl``::

    python examples/python_docs/first_stage.py

It needs nothing but Python. Each line of ``judged.jsonl`` is one question with its candidates, best first, and a
grade for every candidate and for the relevant passages that BM25 did not fetch.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent

#: How many candidates a RAG program would fetch.
CANDIDATES = 20
#: The usual parameters of BM25: how soon repetition stops to count, and how much length does (Lucene's defaults).
K1, B = 1.2, 0.75


class Bm25:
    """Okapi BM25 over lower-cased words, without stemming and without stop words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        self._lengths = [counts.total() for counts in self._counts]
        self._mean_length = sum(self._lengths) / len(self._lengths)
        self._in_documents = Counter(word for counts in self._counts for word in counts)

    def fetch(self, question: str, count: int) -> list[int]:
        """Return the indexes of the ``count`` best texts, best first, ties by index."""
        asked = words(question)
        return sorted(range(len(self._counts)), key=lambda index: (-self._score(asked, index), index))[:count]

    def _score(self, asked: list[str], index: int) -> float:
        counts = self._counts[index]
        damping = K1 * (1 - B + B * self._lengths[index] / self._mean_length)
        return sum(
            self._rarity(word) * counts[word] * (K1 + 1) / (counts[word] + damping) for word in asked if word in counts
        )

    def _rarity(self, word: str) -> float:
        found = self._in_documents[word]
        return math.log(1 + (len(self._counts) - found + 0.5) / (found + 0.5))


def words(text: str) -> list[str]:
    """Return the words of a text, lower-cased."""
    return re.findall(r"\w+", text.lower())


def judged_lines() -> Iterable[str]:
    """Yield the lines of ``judged.jsonl``."""
    passages = [json.loads(line) for line in (HERE / "passages.jsonl").read_text("utf-8").splitlines()]
    bm25 = Bm25(passage["text"] for passage in passages)
    for line in (HERE / "questions.jsonl").read_text("utf-8").splitlines():
        question = json.loads(line)
        candidates = [passages[index] for index in bm25.fetch(question["query"], CANDIDATES)]
        qrels = {candidate["id"]: 0 for candidate in candidates} | question["qrels"]
        judged = {"qid": question["qid"], "query": question["query"], "candidates": candidates, "qrels": qrels}
        yield json.dumps(judged, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (HERE / "judged.jsonl").write_text("".join(judged_lines()), "utf-8")
