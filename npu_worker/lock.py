"""One worker per device: an advisory lock in the runtime folder, held for the worker's life."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from .errors import AlreadyOwned


class DeviceLock:
    """Holds ``worker-<device>.lock`` while entered. The kernel lets go of it however the process ends.

    Raises:
        AlreadyOwned: Another process holds it; says which.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.path = folder / f"worker-{device.lower()}.lock"
        self._device = device
        self._descriptor = -1

    def __enter__(self) -> "DeviceLock":
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise AlreadyOwned(
                f"the {self._device} is owned by another worker already (pid {holder}, lock {self.path}); stop it first"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
