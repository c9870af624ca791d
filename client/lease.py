"""A reranker's hold on the process's connection: taken at the first request, given back once."""

import threading
from pathlib import Path

from .connection import Connection


class Lease:
    """Holds at most one use of the shared connection to ``path``; any thread may ask for it."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._lock = threading.Lock()
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
