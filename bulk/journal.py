"""The output as it grows: JSON lines in the input's order, so that the last one tells what is left to do.

Each row is one write, so a kill leaves at most one line torn, which is cut off at the next start. Rows that were set
aside are in a file of their own; a row is in exactly one of the two, and never in both.
"""

import fcntl
import os
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from .row import Outcome, Ranked, Rejection, rejection

_CHUNK = 1 << 16
#: How each line begins, torn or not: nothing else is ever cut.
_BEGINNING = b'{"row":'


class OutputConflict(Exception):
    """The output cannot be continued; the message says why and what to do."""


class Last(msgspec.Struct, frozen=True):
    """What is read of the last row that was ranked."""

    row: int
    qid: str = ""
    model: str = ""


_Line = TypeVar("_Line")


class Journal:
    """The two files, open for writing while entered.

    Args:
        path: The rows that were ranked.
        rejects: The rows that were set aside; made when there is one.

    Raises:
        OutputConflict: ``path`` holds something else, or another job is writing it.
        OSError: A file cannot be read or written.
    """

    def __init__(self, path: Path, rejects: Path) -> None:
        self.rejects = rejects
        #: Rows in this run that were ranked, and that were set aside.
        self.ranked = self.rejected = 0
        self._path = path
        new = not path.exists()
        if new:  # before there is a new output, which they would be taken to belong to
            rejects.unlink(missing_ok=True)
        self._file = path.open("r+b" if not new else "x+b", buffering=0)
        self._rejects: FileIO | None = None
        self._wrote: FileIO = self._file
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.last = _continue(self._file, path, Last)
            self.last_rejected: Rejection | None = None
            if rejects.exists():
                self._rejects = rejects.open("r+b", buffering=0)
                self.last_rejected = _continue(self._rejects, rejects, Rejection)
        except BlockingIOError:
            self.close()
            raise OutputConflict(f"another job is writing {path}; wait for it, or choose another output") from None
        except BaseException:
            self.close()
            raise
        #: What ranked the rows so far; empty: none is ranked.
        self.model = self.last.model if self.last else ""
        #: The number of the last row that is done; 0: none is.
        self.done = max(self.last.row if self.last else 0, self.last_rejected.row if self.last_rejected else 0)

    def write(self, outcome: Outcome) -> None:
        """Keep what became of the next row.

        Raises:
            OutputConflict: Another model ranked it than those before.
        """
        if isinstance(outcome, Ranked):
            self.check_model(outcome.model)
            self.ranked += 1
            self._append(self._file, outcome.line)
            return
        self.rejected += 1
        if self._rejects is None:
            self._rejects = self.rejects.open("x+b", buffering=0)
        self._append(self._rejects, rejection(outcome))

    def check_model(self, model: str) -> None:
        """Check that a model is the one that ranked the rows so far; the first may be any.

        Raises:
            OutputConflict: It is another: scores of two models cannot be compared.
        """
        self.model = self.model or model
        if model != self.model:
            raise OutputConflict(
                f"the output was begun with {self.model}, but {model} serves now; choose another output"
            )

    def _append(self, file: FileIO, line: bytes) -> None:
        if file is not self._wrote:  # or after a loss of power the one might be there and what was before it not
            os.fsync(self._wrote.fileno())
            self._wrote = file
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[file.write(rest) :]

    def sync(self) -> None:
        """Have what was written outlive a loss of power."""
        os.fsync(self._wrote.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._rejects is not None:
            self._rejects.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _continue(file: FileIO, path: Path, kind: type[_Line]) -> _Line | None:
    """Return a file's last line, None where it has none; cut off what a kill left torn, and go to the end."""
    size = file.seek(0, os.SEEK_END)
    start, tail = size, b""
    while start and tail.count(b"\n") < 2:
        end, start = start, max(0, start - _CHUNK)
        file.seek(start)
        tail = file.read(end - start) + tail
    *whole, torn = tail.split(b"\n")
    line = whole[-1] if whole else None
    if not _is_ours(line, torn, kind):
        raise OutputConflict(f"{path} was not written by this command; choose another output")
    file.truncate(size - len(torn))
    file.seek(0, os.SEEK_END)
    return None if line is None else msgspec.json.decode(line, type=kind)


def _is_ours(line: bytes | None, torn: bytes, kind: type[_Line]) -> bool:
    """Return whether a last line, and what follows it, are what a job writes."""
    if not torn.startswith(_BEGINNING[: len(torn)]):
        return False
    if line is None:
        return True
    try:
        msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        return False
    return line.startswith(_BEGINNING)
