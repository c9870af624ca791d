"""Parquet: rows read as the JSON objects they are, and a finished output written in one step."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from .row import Answer, Row

#: Rows that are in memory at once: one may have 16 MB, and has a hundred passages as a rule.
_ROWS = 256
#: Lines that are turned into Parquet at once; as Python's objects they take many times as much.
_PART_BYTES = 4 << 20
_COLUMNS = ("qid", "query", "candidates")
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("qid", pa.string()),
        ("model", pa.string()),
        ("device", pa.string()),
        ("precision", pa.string()),
        (
            "ranking",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("index", pa.int32()),
                        ("score", pa.float64()),
                        ("relevance_score", pa.float64()),
                        ("truncated", pa.bool_()),
                    ]
                )
            ),
        ),
    ]
)


class ParquetRows:
    """A Parquet file with the columns ``qid``, ``query`` and ``candidates`` (a list of structs of ``id`` and ``text``).

    Raises:
        ValueError: A column is missing, or it is not Parquet.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as file:
            self._rows = file.metadata.num_rows
            missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}; a row needs {', '.join(_COLUMNS)}")

    def count(self, up_to: int) -> tuple[int, int]:
        """Return how many rows there are, and how many of them have a number of at most ``up_to``."""
        return self._rows, min(up_to, self._rows)

    def rows(self, first: int) -> Iterator[Row]:
        """Yield the rows from number ``first`` on; row groups before it are not read."""
        with _opened(self._path) as file:
            groups: list[int] = []
            start, number = 0, 1
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if start + size >= first:
                    if not groups:
                        number = start + 1
                    groups.append(group)
                start += size
            for batch in file.iter_batches(_ROWS, groups, list(_COLUMNS)) if groups else ():
                for line in _lines(batch):
                    if number >= first:
                        yield Row(number, line)
                    number += 1


def _lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    """Yield the JSON of each row; of one whose strings are not valid UTF-8, JSON that says so when it is read."""
    try:
        yield from map(msgspec.json.encode, batch.to_pylist())
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield b'{"qid":"\xff"}'
            return
        for place in range(batch.num_rows):
            yield from _lines(batch.slice(place, 1))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from None


def is_finished(path: Path) -> bool:
    """Return whether a file is what ``finish`` wrote."""
    with _opened(path) as file:
        return bool(file.schema_arrow.equals(SCHEMA))


def finish(lines: Path, path: Path) -> None:
    """Write a job's JSON lines as Parquet, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    making = path.with_name(f"{path.name}.making")
    try:
        with lines.open("rb") as file, pq.ParquetWriter(making, SCHEMA) as writer:
            for some in _in_parts(file):
                rows = [msgspec.to_builtins(msgspec.json.decode(line, type=Answer)) for line in some]
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
        with making.open("rb") as file:
            os.fsync(file.fileno())
        making.replace(path)
    except BaseException:
        making.unlink(missing_ok=True)
        raise


def _in_parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
