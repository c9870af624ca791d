"""Whose connection is read next: processes take turns, and the connections of one take turns within its own."""

from collections import deque
from typing import Generic, Protocol, TypeVar


class _Owned(Protocol):
    @property
    def process(self) -> str: ...


_Connection = TypeVar("_Connection", bound=_Owned)


class ReadingTurns(Generic[_Connection]):
    """Connections with something to read. However many a process opens, it is read as often as any other."""

    def __init__(self) -> None:
        self._by_process: dict[str, deque[_Connection]] = {}
        self._waiting: set[_Connection] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, connection: _Connection) -> None:
        """Let a connection wait for its turn, if it does not wait already."""
        if connection not in self._waiting:
            self._waiting.add(connection)
            self._by_process.setdefault(connection.process, deque()).append(connection)

    def next(self) -> _Connection:
        """Return the connection whose turn it is; it waits no more, and its process is the last in line.

        Raises:
            IndexError: None waits.
        """
        process = next(iter(self._by_process), None)
        if process is None:
            raise IndexError("no connection waits")
        connections = self._by_process.pop(process)
        connection = connections.popleft()
        self._waiting.remove(connection)
        if connections:
            self._by_process[process] = connections
        return connection
