"""The model cache: one folder for each model and weight precision, complete or not there at all.

``<root>/models/<key>/<precision>/`` is a ready model. It gets there by one ``rename`` of the folder
``.<precision>.making`` beside it, in which everything has been written, read back and synced; so a killed pull
leaves at most such a folder, which the next pull removes. ``<root>/locks/<key>-<precision>.lock`` is held
meanwhile: two pulls of one model wait for each other, and only an unlocked ``.making`` is stale.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .card import CARD_FILE, ModelCard, sha256
from .errors import CacheUnwritable, Damaged, ModelError, NotReady
from .sources import DEFAULT, PackagedSource, Source, resolve

Say = Callable[[str], None]

#: Errors of the cache's disk rather than of what was asked for.
_DISK_ERRORS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "EIO", "ENOTDIR", "EEXIST", "ENAMETOOLONG")
)


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A folder with ``model.xml``, ``model.bin``, ``tokenizer.json`` and ``model.json``, and the last one's content."""

    folder: Path
    card: ModelCard

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


def folder_of(root: Path, key: str, precision: str) -> Path:
    """Return where the model of this key is, or would be."""
    return root / "models" / key / precision


def is_ready(folder: Path) -> bool:
    """Return whether a model has been put there; ``load`` says whether it still is what was put there."""
    return (folder / CARD_FILE).is_file()


def find_ready(root: Path, model: str, precisions: Sequence[str]) -> Path | None:
    """Return the folder of what MODEL means, if it has been made ready, in the first of these precisions that is.

    Raises:
        UnknownSource: MODEL means nothing.
    """
    return _first_ready(root, [resolve(model)], precisions)


def find_default(root: Path, precisions: Sequence[str]) -> Path | None:
    """Return what runs when no model is named: the hub's default if it is ready, else the packaged one if it is."""
    return _first_ready(root, [DEFAULT, PackagedSource()], precisions)


def _first_ready(root: Path, sources: Sequence[Source], precisions: Sequence[str]) -> Path | None:
    folders = (folder_of(root, source.key, precision) for source in sources for precision in precisions)
    return next(filter(is_ready, folders), None)


def load(folder: Path) -> ReadyModel:
    """Return the ready model of a folder after comparing every file with its sha256 (tens of ms).

    Raises:
        NotReady: There is none.
        Damaged: A file is missing or changed, or the card cannot be understood.
    """
    try:
        card = ModelCard.read(folder)
    except FileNotFoundError:
        raise NotReady(f"no model is ready in {folder}; make one ready with: openvino-reranker pull") from None
    except Damaged as error:
        raise Damaged(f"{error}; make it ready again with: openvino-reranker pull") from None
    except OSError as error:
        raise NotReady(f"{folder} cannot be read: {error.strerror}") from error
    again = f"make it ready again with: openvino-reranker pull{_arguments(card)}"
    for name, expected in card.files.items():
        try:
            actual = sha256(folder / name)
        except OSError as error:
            raise Damaged(f"{folder / name} cannot be read ({error.strerror}); {again}") from error
        if actual != expected:
            raise Damaged(f"{folder / name} is damaged (its sha256 has changed); {again}")
    return ReadyModel(folder, card)


def make_ready(folder: Path, make: Callable[[Path], ModelCard], say: Say) -> ReadyModel:
    """Put a model into the cache at once and whole; return it, or the one another pull has put there meanwhile.

    Args:
        folder: Where it goes; what is there already stays if it is intact and is replaced if not.
        make: Writes all files but ``model.json`` into the folder it is given, and returns the card. It may keep
            downloads in there: what the card does not name is removed.
        say: Takes a line for the user.

    Raises:
        CacheUnwritable: The disk is full, or the folder cannot be written. Nothing is left behind.
        ModelError: What ``make`` raises.
    """
    making = folder.with_name(f".{folder.name}.making")
    try:
        with _locked(folder, say):
            _remove(making)
            if is_ready(folder):
                try:
                    return load(folder)
                except Damaged as error:
                    say(f"{error.args[0].split('; ')[0]}: making it ready again")
            try:
                making.mkdir(parents=True)
                card = make(making)
                _finish(making, card)
                _put(making, folder)
            finally:
                _remove(making)
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()  # stays unless it is empty
            return ReadyModel(folder, card)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise CacheUnwritable(
            f"cannot write the model cache at {folder}: {error.strerror}; "
            "free some space or fix its permissions, or set OPENVINO_RERANKER_CACHE to another folder"
        ) from error


def remove_stale(root: Path) -> None:
    """Remove what pulls that were killed have left; those of pulls at work are locked and stay."""
    for making in (root / "models").glob("*/.*.making"):
        folder = making.with_name(making.name.removeprefix(".").removesuffix(".making"))
        with contextlib.suppress(OSError, _Busy), _locked(folder, say=None):
            _remove(making)


class _Busy(ModelError):
    """Another process holds the lock."""


@contextlib.contextmanager
def _locked(folder: Path, say: Say | None) -> Iterator[None]:
    """Hold the folder's lock; wait for it and say so, or raise ``_Busy`` if there is nobody to say it to."""
    path = lock_of(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if say is None:
            raise _Busy from None
        say(f"another pull is making {folder.parent.name} ({folder.name}) ready: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_of(folder: Path) -> Path:
    """Return the lock of a model's folder: beside all models, so that an empty folder can be removed under it."""
    return folder.parents[2] / "locks" / f"{folder.parent.name}-{folder.name}.lock"


def _finish(making: Path, card: ModelCard) -> None:
    """Leave exactly the files of the card and the card itself, all of them on the disk."""
    for entry in making.iterdir():
        if entry.name not in card.files:
            _remove(entry)
    card.write(making)
    for path in (*making.iterdir(), making):
        _sync(path)


def _put(making: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old.making")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(old)
    making.rename(folder)
    _sync(folder.parent)
    _remove(old)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
    # A second try: a download that was given up may write its last file while the first is under way.
    for _ in range(2):
        shutil.rmtree(path, ignore_errors=True)


def _arguments(card: ModelCard) -> str:
    return f" {card.source} --precision {card.precision}"
