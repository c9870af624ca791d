"""Where rows come from: JSON lines, or Parquet (extra ``bulk``)."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from .row import Row


class Source(Protocol):
    """A file of rows, numbered from 1."""

    def count(self, up_to: int) -> tuple[int, int]:
        """Return how many rows there are, and how many of them have a number of at most ``up_to``."""
        ...

    def rows(self, first: int) -> Iterator[Row]:
        """Yield the rows from number ``first`` on."""
        ...


class JsonLines:
    """A JSON object a line; a row's number is its line's, and blank lines are none.

    Raises:
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.open("rb").close()

    def count(self, up_to: int) -> tuple[int, int]:
        """Return how many rows there are, and how many of them have a number of at most ``up_to``."""
        total = done = 0
        for row in self.rows(1):
            total += 1
            done += row.number <= up_to
        return total, done

    def rows(self, first: int) -> Iterator[Row]:
        """Yield the rows from number ``first`` on."""
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number >= first and line.strip():
                    yield Row(number, line)


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return path.suffix.lower() == ".parquet"


def open_source(path: Path) -> Source:
    """Return the rows of a file.

    Raises:
        ValueError: It is Parquet without the columns of a row, or not Parquet; or it is not a file.
        OSError: It cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(
            f"{path} is not a regular file; rows are counted before they are ranked, so a pipe will not do"
        )
    if not is_parquet(path):
        return JsonLines(path)
    from .parquet import ParquetRows

    return ParquetRows(path)
