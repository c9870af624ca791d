"""``bulk``: a file of queries and candidates ranked by this machine's service, or by those of a Ray cluster."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ..bulk.job import Files, Progress, check_output_paths, finish, is_finished, keep, measure, rows_left
from ..bulk.journal import Journal, OutputConflict
from ..bulk.ranker import JobAborted, Ranker, rank_in_order
from ..bulk.row import Outcome, Row
from ..bulk.source import open_source
from ..client.sync import Reranker
from ..protocol.errors import Overloaded, RerankError, ServiceError
from .argument_types import positive
from .settings import Settings, read_settings

#: Rows under way at once: enough to keep the queue full even with ten candidates each.
_CONCURRENCY = 16
#: The exit status when all is done, and rows were set aside.
REJECTED = 3

EPILOG = """examples:
  openvino-reranker bulk questions.jsonl ranked.jsonl
  openvino-reranker bulk questions.parquet ranked.parquet -k 10       needs pip install 'openvino-reranker[bulk]'
  openvino-reranker bulk questions.jsonl ranked.jsonl --ray auto      on every node of a Ray cluster (docs/scale.md)

A row of IN is one query and its candidates; more keys are ignored:
  {"qid": "1", "query": "...", "candidates": [{"id": "a", "text": "..."}]}
A row of OUT, in the order of IN, has the candidates' ids, best first; index is a candidate's place in IN's list:
  {"row": 1, "qid": "1", "model": "...", ..., "ranking": [{"id": "a", "index": 0, "score": 3.1, ...}]}
A file whose name ends in .parquet is Parquet with these columns; any other is JSON lines. IN and OUT may differ.

After Ctrl-C, a kill or a power cut, run the same command again: it continues where it stopped, and no row is written
twice. A Parquet OUT appears when all rows are done; until then they are in OUT.partial.jsonl. Rows that cannot be
ranked are set aside in OUT.rejected.jsonl: each with its number, what is wrong with it, and the row itself.

Requests have priority 'bulk', so that people's questions go first. It waits while the queue is full or the
service restarts. Exit status: 0 all rows are ranked, 3 all but those set aside, 1 not finished, 130 stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("source", metavar="IN", type=Path, help="the rows: JSON lines, or Parquet by its name")
    parser.add_argument("output", metavar="OUT", type=Path, help="the rankings, in either format")
    parser.add_argument(
        "-k", "--top-k", type=positive, default=None, metavar="N", help="how many of a row's candidates to keep"
    )
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=_CONCURRENCY,
        metavar="N",
        help=f"rows under way at once, on each node (default {_CONCURRENCY})",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", type=Path, metavar="PATH", help="the broker's requests.sock")
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="rank on this Ray cluster: HOST:PORT, or 'auto' for the one of this machine; needs the extra ray",
    )


def run(arguments: argparse.Namespace) -> int:
    """Rank what is left; see the exit statuses above."""
    settings = read_settings(arguments)
    files = Files(arguments.source, arguments.output)
    try:
        return _run(arguments, settings, files)
    except (OSError, ValueError, OutputConflict, JobAborted, RerankError) as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace, settings: Settings, files: Files) -> int:
    source = open_source(files.source)
    check_output_paths(files)
    if is_finished(files):
        files.journal.unlink(missing_ok=True)  # a kill may have left it, and it would be continued
        print(f"{files.output} is complete: nothing is left to do", file=sys.stderr)
        return REJECTED if files.rejects.exists() else 0
    with Journal(files.journal, files.rejects) as journal:
        progress = measure(source, journal)
        rows = rows_left(source, journal, files)
        if progress.done < progress.total:
            try:
                with _Display(progress) as display, _outcomes(arguments, settings, journal, rows, display) as outcomes:
                    keep(outcomes, journal, display.on_row)
            except (KeyboardInterrupt, JobAborted):
                done = progress.done + journal.ranked + journal.rejected
                print(
                    f"{done} of {progress.total} rows are done; run the same command again to continue", file=sys.stderr
                )
                raise
        if progress.done + journal.ranked + journal.rejected < progress.total:
            raise OutputConflict(f"{files.source} became shorter while it was read; run the same command again")
        finish(files)
        print(f"{journal.ranked} rows ranked into {files.output}", file=sys.stderr)
        if not files.rejects.exists():
            return 0
        print(
            f"rows that could not be ranked are in {files.rejects}, {journal.rejected} of them from this run",
            file=sys.stderr,
        )
        return REJECTED


@contextlib.contextmanager
def _outcomes(
    arguments: argparse.Namespace, settings: Settings, journal: Journal, rows: Iterator[Row], display: "_Display"
) -> Iterator[Iterator[Outcome]]:
    if arguments.ray is not None:
        from ..bulk.on_ray import cluster, rank_on

        with cluster(arguments.ray) as nodes:
            yield rank_on(nodes, rows, arguments.top_k, arguments.concurrency)
        return
    reranker = Reranker(arguments.socket or settings.requests_socket)
    if (model := reranker.status().worker.model) is not None:  # before anything is computed in vain
        journal.check_model(model)
    ranker = Ranker(reranker, arguments.top_k, display.on_wait)
    try:
        yield rank_in_order(rows, ranker.rank, arguments.concurrency)
    finally:
        ranker.stop()


class _Display:
    """The progress bar, and one line for each time that the service is away."""

    def __init__(self, progress: Progress) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=progress.total, initial=progress.done, unit="row", disable=None)
        self._away = False

    def on_row(self) -> None:
        """Count a row."""
        self._away = False
        self._bar.update()

    def on_wait(self, error: ServiceError) -> None:
        """Say that a row waits, and for what; in any thread."""
        if not isinstance(error, Overloaded) and not self._away:
            self._away = True
            self._bar.write(f"waiting for the service: {error}", file=sys.stderr)

    def __enter__(self) -> "_Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
