"""A file we write and a person may change: the first line holds a checksum of the rest, so that we know."""

import difflib
import hashlib
import re
import stat
from pathlib import Path
from typing import Literal

#: ``changed``: by hand, or never ours. ``outdated``: ours, but not what we would write now.
State = Literal["absent", "unchanged", "outdated", "changed"]

_MARK = "# Written by openvino-reranker install-units; "
_STAMP = re.compile(re.escape(_MARK) + r"sha256 of what follows: ([0-9a-f]{64})\n")


class StampedFile:
    """The file at ``path``, of which we would write ``body``."""

    def __init__(self, path: Path, body: str = "") -> None:
        self.path = path
        self._body = body

    def state(self) -> State:
        """Return how the file is, compared with what we would write."""
        if not self.path.exists():
            return "absent"
        found = self.path.read_text("utf-8", "replace")
        if _without_stamp(found) == self._body:
            return "unchanged"
        return "outdated" if is_untouched(found) else "changed"

    def untouched(self) -> bool:
        """Return whether the file is there and as we wrote it, be it long ago."""
        return self.path.exists() and is_untouched(self.path.read_text("utf-8", "replace"))

    def difference(self, edited: str | None = None) -> str:
        """Return what writing, or editing the file to a text, would change, as a unified diff."""
        found = _without_stamp(self.path.read_text("utf-8", "replace")) if self.path.exists() else ""
        wanted = self._body if edited is None else _without_stamp(_printable(edited))
        return "".join(
            difflib.unified_diff(
                found.splitlines(keepends=True),
                wanted.splitlines(keepends=True),
                f"{self.path} (yours)",
                f"{self.path} (ours)",
            )
        )

    def write(self) -> None:
        """Write the file with its stamp, whole or not at all; its folders are made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_text(stamped(self._body), "utf-8")
        temporary.rename(self.path)

    def edit(self, text: str) -> None:
        """Put ``text`` in the place of all of a person's file, whole or not at all; it stays theirs.

        A stamp in it stays as it is, and goes on not to fit; so do the file's mode and the link to it.
        """
        path = self.path.resolve()
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(text, "utf-8", "surrogateescape")
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.rename(path)

    def set_aside(self) -> Path:
        """Rename the file to ``NAME~``, which systemd does not read; return that path."""
        aside = self.path.with_name(f"{self.path.name}~")
        self.path.rename(aside)
        return aside


def stamped(body: str) -> str:
    """Return ``body`` under its stamp."""
    return f"{_MARK}sha256 of what follows: {_checksum(body)}\n{body}"


def is_untouched(text: str) -> bool:
    """Return whether ``text`` begins with our stamp and is what was stamped."""
    found = _STAMP.match(text)
    return found is not None and found[1] == _checksum(text[found.end() :])


def is_ours(path: Path) -> bool:
    """Return whether the file at ``path`` began as one of ours."""
    return path.is_file() and path.read_text("utf-8", "replace").startswith(_MARK)


def _printable(text: str) -> str:
    """Bytes that are no UTF-8 cannot be shown."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _without_stamp(text: str) -> str:
    found = _STAMP.match(text)
    return text[found.end() :] if found else text


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
