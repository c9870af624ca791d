"""The requests the broker has accepted and not answered: by connection and id, and by when they are due."""

import heapq
from collections.abc import Iterator

from .request import Request


class RequestTable:
    """Every accepted request, until it is answered or forgotten."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, dict[bytes, Request]] = {}
        self._due: list[tuple[float, bytes, bytes]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Request]:
        for requests in self._by_peer.values():
            yield from requests.values()

    def add(self, request: Request) -> None:
        """Keep a request; there is none of its connection and id yet."""
        self._by_peer.setdefault(request.peer, {})[request.id] = request
        heapq.heappush(self._due, (request.deadline, request.peer, request.id))
        self._count += 1

    def get(self, peer: bytes, request_id: bytes) -> Request | None:
        """Return a request, or None."""
        return self._by_peer.get(peer, {}).get(request_id)

    def of(self, peer: bytes) -> list[Request]:
        """Return the requests of a connection."""
        return list(self._by_peer.get(peer, {}).values())

    def remove(self, request: Request) -> None:
        """Forget a request."""
        requests = self._by_peer[request.peer]
        del requests[request.id]
        if not requests:
            del self._by_peer[request.peer]
        self._count -= 1
        if len(self._due) > 2 * self._count + 64:  # mostly of requests that are done
            self._due = [(each.deadline, each.peer, each.id) for each in self]
            heapq.heapify(self._due)

    def expired(self, now: float) -> Iterator[Request]:
        """Yield the requests whose deadline has passed."""
        while self._due and self._due[0][0] <= now:
            due, peer, request_id = heapq.heappop(self._due)
            request = self.get(peer, request_id)
            if request is not None and request.deadline <= due:  # a later request may bear the same id
                yield request

    def next_deadline(self) -> float | None:
        """Return the earliest time at which ``expired`` may have something, or None."""
        return self._due[0][0] if self._due else None
