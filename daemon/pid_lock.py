"""An advisory lock with its holder's pid in it."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Held(Exception):
    """Another process holds the lock.

    Attributes:
        pid: Which, as it wrote it down, or ``unknown``.
    """

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


class PidLock:
    """Holds the lock file at ``path`` while entered. The kernel releases it however the process ends.

    Raises:
        Held: Another process holds it.
        OSError: The file or its folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> "PidLock":
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Held(holder) from None
        except OSError:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
