"""A reranker's hold on the process's connection: taken at the first request, given back once."""

import os
import threading
from pathlib import Path

from .connection import Connection


class SharedConnection:
    """Holds at most one use of the shared connection to ``path``; any thread may ask for it."""

    # One for all leases, as it is held for a moment only: a forked child can renew one, not find them all.
    _lock = threading.Lock()

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._held: Connection | None = None

    def connection(self) -> Connection:
        """Return the connection, taking it if this process has not (a forked child has not).

        Raises:
            Unavailable: There is no socket, nobody listens on it, or this user may not use it.
        """
        held = self._held
        if held is not None and held.usable:
            return held
        with self._lock:
            if self._held is None or not self._held.usable:
                self._held = Connection.shared(self._path, self._name)
            return self._held

    def release(self) -> None:
        """Give the connection back, if it is held."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            held.release()


def _renew_lock() -> None:
    """In a forked child: a thread of the parent may have held the lock, and does not exist here."""
    SharedConnection._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
