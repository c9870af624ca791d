"""``evaluate``: what the running service makes of a judged collection, beside its first stage."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ..bench.evaluation import QueryFailed, evaluate, rerank_all, table
from ..bench.judged import JudgedQuery, WrongLines, read_judged
from ..bench.target import Target
from .settings import read_settings
from .target import add_target, target_of

#: Wrong lines that are shown.
_SHOWN = 20

EPILOG = """examples:
  openvino-reranker evaluate examples/python_docs/judged.jsonl      72 judged questions that come with the source
  openvino-reranker evaluate mine.jsonl --url http://127.0.0.1:18818
  openvino-reranker evaluate mine.jsonl --json > int8.json          to compare models and precisions

A line of the file is one query, its candidates as your first stage ordered them, and a grade for each document that
was judged (0 is not relevant; an unjudged document counts as 0):
  {"qid": "1", "query": "...", "candidates": [{"id": "a", "text": "..."}], "qrels": {"a": 2, "b": 0}}

nDCG@10 is how close the order comes to the best possible one, MRR@10 how high the first relevant document is,
recall@10 how many of the relevant ones are among the first ten. 50 queries show large differences only.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("data", metavar="DATA", help="the collection, JSON lines; '-': standard input")
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Rerank the collection and print its quality; 0 if every query was answered."""
    settings = read_settings(arguments)
    try:
        report = _evaluate(_read(arguments.data), target_of(arguments, settings))
    except (OSError, ValueError, QueryFailed) as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2) if arguments.json else table(report))
    return 0


def _evaluate(queries: list[JudgedQuery], target: Target) -> dict[str, Any]:
    from tqdm import tqdm

    reranker = target.reranker("bulk")
    try:
        with tqdm(total=len(queries), unit="query", disable=None, leave=False) as bar:
            rankings, seconds = rerank_all(reranker, queries, bar.update)
    finally:
        reranker.close()  # after Ctrl-C too: what is under way over the socket ends with it
    return {"target": str(target), **evaluate(queries, rankings, seconds)}


def _read(name: str) -> list[JudgedQuery]:
    """Return the collection of a file.

    Raises:
        ValueError: Nothing in it can be measured; names the wrong lines.
        OSError: It cannot be read.
    """

    def read(file: BinaryIO) -> list[JudgedQuery]:
        queries = read_judged(file)
        if not any(query.measurable for query in queries):
            raise WrongLines(["no query has a relevant document"])
        return queries

    try:
        if name == "-":
            return read(sys.stdin.buffer)
        with Path(name).open("rb") as file:
            return read(file)
    except WrongLines as error:
        more = len(error.lines) - _SHOWN
        shown = [f"  {line}" for line in error.lines[:_SHOWN]] + ([f"  and {more} more"] if more > 0 else [])
        raise ValueError("\n".join([f"{name} cannot be evaluated:", *shown])) from None
