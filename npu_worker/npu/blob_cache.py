"""Compiled buckets on disk, under our own key and checksum.

OpenVINO imports a blob with zeroed bytes without an error, so it is given nothing that is not, byte for byte,
what the compiler wrote. Beside a blob is a note with its sha256 and everything it was compiled from and with.
Instead of a blob there may be a mark that says how compiling failed fatally, and one that counts how often the device
was lost in the bucket's self-test.
"""

import contextlib
import hashlib
import logging
import os
from dataclasses import asdict
from pathlib import Path

import msgspec

from ...daemon.atomic_write import write_atomically
from ..model.card import ModelCard, sha256
from .platform import Identity

logger = logging.getLogger("openvino_reranker.worker")

#: After this many fatal failures a bucket is not tried again with the same model, driver and options.
GIVE_UP_AFTER = 2


#: How graphs are cut before they are compiled: another number recompiles all models.
_GRAPH = "2"


class Note(msgspec.Struct, frozen=True):
    """The note beside a blob."""

    sha256: str
    made_of: dict[str, str]


class Mark(msgspec.Struct, frozen=True):
    """How compiling failed fatally: how often, and what happened last."""

    times: int
    happened: str
    made_of: dict[str, str]


class Losses(msgspec.Struct, frozen=True):
    """How often a bucket's self-test lost the device since the driver was loaded, and what happened last."""

    times: int
    happened: str
    device_epoch: str
    made_of: dict[str, str]


class BlobCache:
    """The compiled buckets of one model for one device, driver, compiler and set of options.

    Args:
        root: The cache's folder; made when something is put there.
        card: The model's.
        identity: Device, driver, firmware and compiler.
        options: All options of the plugin.
    """

    def __init__(self, root: Path, card: ModelCard, identity: Identity, options: dict[str, str]) -> None:
        self._root = root
        self.model = hashlib.sha256(msgspec.json.encode(card.files, order="deterministic")).hexdigest()
        self._common = {"model": self.model, "graph": _GRAPH, "options": _line(options), **asdict(identity)}

    def read(self, length: int) -> bytes | None:
        """Return a bucket's blob, or None; one that has changed since it was stored is discarded."""
        blob, note = self._paths(length)
        try:
            content = blob.read_bytes()
            expected = msgspec.json.decode(note.read_bytes(), type=Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._throw_away(length, str(error))
            return None
        if expected.made_of != self._made_of(length):
            self._throw_away(length, "it belongs to another model or setting")
            return None
        if hashlib.sha256(content).hexdigest() != expected.sha256:
            self._throw_away(length, "its sha256 has changed")
            return None
        return content

    def put(self, length: int, compiled: Path) -> None:
        """Store a file that the compiler wrote; older blobs of this model and bucket are removed.

        A cache that cannot be written costs time at the next start and is no reason to stop.
        """
        blob, note = self._paths(length)
        try:
            digest = sha256(compiled)
            for old in self._root.glob(f"{self._stem(length)}-*"):
                if old.suffix != ".making":
                    old.unlink(missing_ok=True)
            compiled.rename(blob)
            write_atomically(note, msgspec.json.encode(Note(digest, self._made_of(length))))
        except OSError as error:
            logger.warning("the compiled bucket of %d tokens cannot be cached: %s", length, error)

    def discard(self, length: int) -> None:
        """Remove a bucket's blob."""
        for path in self._paths(length):
            with contextlib.suppress(OSError):
                path.unlink()

    def room(self, length: int) -> Path:
        """Return a path in the cache for the compiler to write to; what a killed process left there is removed.

        Raises:
            OSError: The folder cannot be made.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._root.glob(f"{self._stem(length)}-*.making"):
            if not Path("/proc", left.stem.rpartition("-")[2]).exists():
                left.unlink(missing_ok=True)
        return self._root / f"{self._stem(length)}-{os.getpid()}.making"

    def mark(self, length: int) -> Mark | None:
        """Return how compiling this bucket failed fatally, if it did."""
        try:
            mark = msgspec.json.decode(self._mark_path(length).read_bytes(), type=Mark)
        except (OSError, msgspec.DecodeError):
            return None
        return mark if mark.made_of == self._made_of(length) else None

    def put_mark(self, length: int, happened: str, times: int = 1) -> None:
        """Record that a bucket failed fatally, this many times more."""
        before = self.mark(length)
        mark = Mark((before.times if before else 0) + times, happened, self._made_of(length))
        self._put_beside(self._mark_path(length), mark)

    def count_losses(self, length: int, device_epoch: str) -> int:
        """Return how often the bucket's self-test lost the device since the driver was loaded."""
        losses = self._losses(length)
        return losses.times if losses is not None and losses.device_epoch == device_epoch else 0

    def note_loss(self, length: int, device_epoch: str, happened: str) -> None:
        """Note that the device was lost in the bucket's self-test."""
        times = self.count_losses(length, device_epoch) + 1
        self._put_beside(self._loss_path(length), Losses(times, happened, device_epoch, self._made_of(length)))

    def clear_marks(self, length: int) -> None:
        """Forget that the bucket failed fatally."""
        for path in (self._mark_path(length), self._loss_path(length)):
            with contextlib.suppress(OSError):
                path.unlink()

    def _losses(self, length: int) -> Losses | None:
        try:
            losses = msgspec.json.decode(self._loss_path(length).read_bytes(), type=Losses)
        except (OSError, msgspec.DecodeError):
            return None
        return losses if losses.made_of == self._made_of(length) else None

    def _put_beside(self, path: Path, content: msgspec.Struct) -> None:
        with contextlib.suppress(OSError):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(content))

    def _made_of(self, length: int) -> dict[str, str]:
        return {**self._common, "tokens": str(length)}

    def _stem(self, length: int) -> str:
        return f"{self.model[:16]}-{length}"

    def _key(self, length: int) -> str:
        return hashlib.sha256(_line(self._made_of(length)).encode()).hexdigest()[:16]

    def _paths(self, length: int) -> tuple[Path, Path]:
        stem = f"{self._stem(length)}-{self._key(length)}"
        return self._root / f"{stem}.blob", self._root / f"{stem}.json"

    def _mark_path(self, length: int) -> Path:
        return self._root / f"{self._stem(length)}-{self._key(length)}.poisoned"

    def _loss_path(self, length: int) -> Path:
        return self._root / f"{self._stem(length)}-{self._key(length)}.lost"

    def _throw_away(self, length: int, why: str) -> None:
        logger.warning("discarded the compiled bucket of %d tokens: %s", length, why)
        self.discard(length)


def _line(fields: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(fields.items()))
