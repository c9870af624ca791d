"""``rerank``: one ranking from the shell."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from ..client.encoding import Document
from ..client.ranking import Ranking
from ..client.sync import Reranker
from ..protocol.errors import InvalidRequest, RerankError
from .settings import read_settings

EPILOG = """examples:
  openvino-reranker rerank "who wrote Emma?" "Jane Austen wrote Emma." "Emma is a name."
  openvino-reranker rerank "disk full" --file notes.txt --top-k 5      one document per line
  grep -h TODO *.md | openvino-reranker rerank "release blockers"      documents on standard input
  openvino-reranker rerank "npu" --file docs.jsonl --json              lines like {"id": "a", "text": "..."}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("query", help="the query")
    parser.add_argument("documents", nargs="*", help="the documents; from --file or standard input if none are given")
    parser.add_argument(
        "-f", "--file", metavar="FILE", help="a document per line, as text or JSON; '-': standard input"
    )
    parser.add_argument("-k", "--top-k", type=int, default=None, metavar="N", help="how many to show (default all)")
    parser.add_argument(
        "--max-windows", type=int, default=None, metavar="N", help="read a long document in at most N windows"
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds to wait (default 30)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the ranking; 0 if there is one."""
    settings = read_settings(arguments)
    try:
        documents = _documents(arguments)
        with Reranker(settings.requests_socket) as reranker:
            ranking = reranker.rerank(
                arguments.query, documents, arguments.top_k, arguments.timeout, max_windows=arguments.max_windows
            )
    except (RerankError, OSError) as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    print(_as_json(ranking, documents) if arguments.json else _as_table(ranking, documents))
    return 0


def _documents(arguments: argparse.Namespace) -> list[Document]:
    if arguments.documents and arguments.file:
        raise InvalidRequest("give documents as arguments or with --file, not both")
    if arguments.documents:
        return list(arguments.documents)
    if arguments.file not in (None, "-"):
        with Path(arguments.file).open(encoding="utf-8") as file:
            return read_documents(file)
    if sys.stdin.isatty():
        print("reading documents from standard input, one per line; end with Ctrl-D", file=sys.stderr)
    return read_documents(sys.stdin)


def read_documents(lines: Iterable[str] | TextIO) -> list[Document]:
    """Read a document per line: JSON strings and objects where a line is one, else the line's text.

    Empty lines are left out.
    """
    try:
        return [_document(line) for line in map(str.strip, lines) if line]
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the documents are not valid UTF-8: {error.reason} at byte {error.start}") from None


def _document(line: str) -> Document:
    if line[0] not in '{"':
        return line
    try:
        parsed = json.loads(line)
    except ValueError:
        return line
    return parsed if isinstance(parsed, dict | str) else line


def _as_table(ranking: Ranking, documents: list[Document]) -> str:
    lines = [f"{'':>4} {'score':>8} {'relevance':>9}  document"]
    for place, hit in enumerate(ranking.hits, 1):
        document = documents[hit.index]
        text = " ".join(str(document if isinstance(document, str) else document["text"]).split())
        name = f"[{hit.id}] " if hit.id is not None else ""
        shown = text if len(text) <= 90 else text[:89] + "…"
        if hit.windows > 1:
            shown += f" (best of {hit.windows} windows: characters {hit.window.start}-{hit.window.end})"
        cut = " (truncated)" if hit.truncated else ""
        lines.append(f"{place:>4} {hit.score:>8.3f} {hit.relevance_score:>9.4f}  {name}{shown}{cut}")
    timings = ranking.timings_ms
    lines.append(f"{ranking.model} on {ranking.device} ({ranking.precision}), {timings.total:.0f} ms")
    return "\n".join(lines)


def _as_json(ranking: Ranking, documents: list[Document]) -> str:
    return json.dumps(
        {
            "model": ranking.model,
            "device": ranking.device,
            "precision": ranking.precision,
            "npu_busy_delta_us": ranking.npu_busy_delta_us,
            "timings_ms": {
                "queue": ranking.timings_ms.queue,
                "inference": ranking.timings_ms.inference,
                "total": ranking.timings_ms.total,
            },
            "cached": ranking.cached,
            "results": [
                {
                    "index": hit.index,
                    "id": hit.id,
                    "score": hit.score,
                    "relevance_score": hit.relevance_score,
                    "truncated": hit.truncated,
                    "windows": hit.windows,
                    "window": {"start": hit.window.start, "end": hit.window.end},
                    "document": documents[hit.index],
                }
                for hit in ranking.hits
            ],
        },
        ensure_ascii=False,
        indent=2,
    )
