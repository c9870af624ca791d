"""A bulk job: what is left of it, done and written down."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .journal import Journal, OutputConflict
from .row import Outcome, Row, as_text, read_query
from .source import Source, is_parquet


@dataclass(frozen=True, slots=True)
class Files:
    """A job's files.

    Attributes:
        source: The rows.
        output: What becomes of them.
    """

    source: Path
    output: Path

    @property
    def journal(self) -> Path:
        """Where lines are written: the output itself, or what becomes it in one step where it is Parquet."""
        return self.output.with_name(f"{self.output.name}.partial.jsonl") if is_parquet(self.output) else self.output

    @property
    def rejects(self) -> Path:
        """Where rows are set aside."""
        return self.output.with_name(f"{self.output.name}.rejected.jsonl")


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows there are, and how many were done before."""

    total: int
    done: int


def check_output_paths(files: Files) -> None:
    """Check that nothing is written over the input.

    Raises:
        OutputConflict: It would be.
    """
    written = {path.resolve() for path in (files.output, files.journal, files.rejects)}
    if files.source.resolve() in written:
        raise OutputConflict(f"{files.source} would be written over; choose another output")


def is_finished(files: Files) -> bool:
    """Return whether a Parquet output exists: it appears when all rows are done.

    Raises:
        OutputConflict: Something else is there.
    """
    if not is_parquet(files.output) or not files.output.exists():
        return False
    from . import parquet

    if not parquet.is_finished(files.output):
        raise OutputConflict(f"{files.output} was not written by this command; choose another output")
    return True


def finish(files: Files) -> None:
    """Make the output of what was written, once all of it is."""
    if is_parquet(files.output):
        from . import parquet

        parquet.finish(files.journal, files.output)
        files.journal.unlink()


def measure(source: Source, journal: Journal) -> Progress:
    """Return how much there is to do."""
    return Progress(*source.count(journal.done))


def rows_left(source: Source, journal: Journal, files: Files) -> Iterator[Row]:
    """Yield the rows that are left.

    Raises:
        OutputConflict: The last row that was ranked, or set aside, is not the one at its place in the input.
    """
    last, rejected = journal.last, journal.last_rejected
    if last is not None:
        row = _row_at(source, last.row)
        if row is None or _qid(row) != last.qid:
            raise OutputConflict(
                f"{files.output} belongs to another input: its last line is row {last.row} with the qid {last.qid!r}, "
                f"which {files.source} does not have there; choose another output"
            )
    if rejected is not None:
        row = _row_at(source, rejected.row)
        if row is None or as_text(row.line) != rejected.line:
            raise OutputConflict(
                f"{files.rejects} belongs to another input: its last line is row {rejected.row}, which is not the same "
                f"in {files.source}; choose another output"
            )
    return source.rows(journal.done + 1)


def _row_at(source: Source, number: int) -> Row | None:
    row = next(source.rows(number), None)
    return row if row is not None and row.number == number else None


def _qid(row: Row) -> str | None:
    try:
        return str(read_query(row.line).qid)
    except ValueError:
        return None


def keep(outcomes: Iterator[Outcome], journal: Journal, on_row: Callable[[], object]) -> None:
    """Write down what became of each row; ``on_row`` is called after each."""
    for outcome in outcomes:
        journal.write(outcome)
        on_row()
    journal.sync()
