"""What every peer is asked: questions and passages out of the judged sample, and no pair twice."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "examples" / "python_docs"


@dataclass(frozen=True, slots=True)
class Load:
    """A way of asking.

    Attributes:
        name: What it is called in the table.
        callers: Threads that ask at once.
        passages: Passages a request.
        words: Fewest and most words of a passage.
        requests: Requests of all callers in one turn.
    """

    name: str
    callers: int
    passages: int
    words: tuple[int, int]
    requests: int


#: A passage of 75 words has about 100 tokens, one of 300 about 400.
LOADS = (
    Load("8 callers x 20, ~100 tokens", 8, 20, (45, 105), 24),
    Load("1 caller x 50, ~100 tokens", 1, 50, (45, 105), 4),
    Load("8 callers x 20, ~400 tokens", 8, 20, (240, 360), 8),
    Load("1 caller x 50, ~400 tokens", 1, 50, (240, 360), 1),
)


class Texts:
    """Requests for loads, the same ones in the same order for every peer that starts with the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (not for secrets)
        self._questions = [line["query"] for line in _lines("questions.jsonl")]
        self._words = [line["text"].split() for line in _lines("passages.jsonl")]
        self._used: set[str] = set()

    def requests(self, load: Load) -> list[tuple[str, list[str]]]:
        """Return one turn's requests."""
        return [
            (self._random.choice(self._questions), [self._passage(load.words) for _ in range(load.passages)])
            for _ in range(load.requests)
        ]

    def _passage(self, words: tuple[int, int]) -> str:
        while True:
            wanted, text = self._random.randint(*words), list[str]()
            while len(text) < wanted:
                text += self._random.choice(self._words)
            passage = " ".join(text[:wanted])
            if passage not in self._used:
                self._used.add(passage)
                return passage


def _lines(name: str) -> Iterator[dict[str, str]]:
    for line in (SAMPLE / name).read_text("utf-8").splitlines():
        yield json.loads(line)
