"""Questions for the tiny model, each passage with the logit that is right, read off the weights without the service."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from openvino_reranker.tests.npu_worker.model import tiny_bert

QUERIES, PASSAGES = 8, 40
#: A device computes in another order than the reference.
TOLERANCE = 2e-3

_WORDS = ["berlin", "people", "population", "live", *"abcdefghij0123456789"]


def write_answers(path: Path, seed: int) -> None:
    """Write questions and right logits: a list of ``[query, [[passage, logit], ...]]``."""
    chance = random.Random(seed)
    weights = {name: value.astype(np.float16).astype(np.float32) for name, value in tiny_bert.make_weights().items()}

    def text(most: int) -> str:
        return " ".join(chance.choices(_WORDS, k=chance.randint(1, most)))

    known = []
    for _ in range(QUERIES):
        query = text(6)
        passages = [text(40) for _ in range(PASSAGES)]
        known.append([query, [[each, tiny_bert.reference_logit(weights, query, each)] for each in passages]])
    path.write_text(json.dumps(known))


def requests(path: Path, seed: int) -> Iterator[tuple[str, list[str], list[float]]]:
    """Yield query, documents and right logits without end; half of the documents are new to any cache.

    A text is made new by spaces, which the tokenizer does not see and the queue does.
    """
    known = json.loads(path.read_text())
    chance = random.Random(seed)
    while True:
        query, passages = chance.choice(known)
        chosen = chance.choices(passages, k=chance.choice((1, 4, 10, 40, 120)))
        documents = [passage + (_spaces(chance) if chance.random() < 0.5 else "") for passage, _ in chosen]
        yield query, documents, [logit for _, logit in chosen]


def _spaces(chance: random.Random) -> str:
    return "".join(chance.choices(" \t\n", k=24))
