"""One worker per device: an advisory lock in the runtime folder, held for the worker's life."""

from pathlib import Path
from types import TracebackType

from ..daemon.pid_lock import Held, PidLock
from .errors import AlreadyOwned, WorkerError


class DeviceLock:
    """Holds ``worker-<device>.lock`` while entered. The kernel releases it however the process ends.

    Raises:
        AlreadyOwned: Another process holds it; says which.
        WorkerError: The lock cannot be created.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._lock = PidLock(folder / f"worker-{device.lower()}.lock")
        self._device = device

    def __enter__(self) -> "DeviceLock":
        path = self._lock.path
        try:
            self._lock.__enter__()
        except Held as held:
            raise AlreadyOwned(
                f"another worker (pid {held.pid}, lock {path}) owns the {self._device} already; stop it first"
            ) from None
        except OSError as error:
            raise WorkerError(
                f"cannot create the lock {path}: {error.strerror}; choose another folder with --runtime-dir"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)
