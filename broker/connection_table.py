"""The open connections of one socket: by what the broker calls them, by descriptor, and how many each process has."""

from collections import Counter
from collections.abc import Iterator

from .connection import Connection


class ConnectionTable:
    """Connections, oldest first."""

    def __init__(self) -> None:
        self._by_identity: dict[bytes, Connection] = {}
        self._by_descriptor: dict[int, Connection] = {}
        self._of_process: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_identity)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_identity.values()))

    def get(self, identity: bytes) -> Connection | None:
        """Return a connection by what the broker calls it."""
        return self._by_identity.get(identity)

    def at(self, descriptor: int) -> Connection | None:
        """Return a connection by its descriptor."""
        return self._by_descriptor.get(descriptor)

    def add(self, connection: Connection) -> None:
        """Add a connection that was just accepted."""
        self._by_identity[connection.identity] = self._by_descriptor[connection.descriptor] = connection
        self._of_process[connection.process] += 1

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        del self._by_identity[connection.identity], self._by_descriptor[connection.descriptor]
        self._of_process[connection.process] -= 1
        if not self._of_process[connection.process]:
            del self._of_process[connection.process]

    def most_dispensable(self) -> tuple[Connection, int]:
        """Return the newest connection of the processes that have the most, and how many that is."""
        most = max(self._of_process.values())
        newest = (each for each in reversed(self._by_identity.values()) if self._of_process[each.process] == most)
        return next(newest), most

    @property
    def unsent_bytes(self) -> int:
        """How much could not yet be sent, to all together."""
        return sum(connection.unsent_bytes for connection in self._by_identity.values())
