"""Requests in progress: who waits for which answer. Plain bookkeeping, no socket and no clock.

Invariant: every entry leaves exactly once, by ``resolve``, ``forget``, ``to_resend`` or ``fail_all``.
"""

import copy
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..protocol.client_messages import BrokerMessage, Refusal, Rerank, Scores, Welcome
from ..protocol.errors import RerankError, Unavailable, error_from_code
from ..protocol.status_messages import GetStatus, Status

Request = Rerank | GetStatus
Answer = Scores | Status


#: Brokers that may be lost with a request before it is answered ``unavailable``: it may be what ends them.
MOST_LOSSES = 4


@dataclass(slots=True)
class PendingRequest:
    """One request: whether the current broker was sent it, and how many brokers were lost with it."""

    request: Request
    answer: "Future[Answer]" = field(default_factory=Future)
    sent: bool = False
    losses: int = 0


class PendingTable:
    """Requests sent and not answered, by id."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, PendingRequest] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request) -> "Future[Answer]":
        """Expect an answer to ``request``."""
        entry = self._waiting[request.id] = PendingRequest(request)
        return entry.answer

    def forget(self, request_id: bytes) -> Request | None:
        """Expect no answer any more; return the request, None if there was none to expect."""
        entry = self._waiting.pop(request_id, None)
        return entry.request if entry else None

    def resolve(self, message: BrokerMessage) -> None:
        """Resolve the future that waits for an answer; an answer that nothing waits for is dropped."""
        if isinstance(message, Welcome):
            return
        entry = self._waiting.pop(message.id, None)
        if entry is None or not entry.answer.set_running_or_notify_cancel():
            return
        if isinstance(message, Refusal):
            entry.answer.set_exception(error_from_code(message.code, message.message, message.retry_after_ms))
        else:
            entry.answer.set_result(message)

    def note_sent(self, request_ids: Iterable[bytes]) -> None:
        """Note which requests are on their way, of those that wait."""
        for request_id in request_ids:
            if entry := self._waiting.get(request_id):
                entry.sent = True

    def to_resend(self) -> list[Request]:
        """Return what a new broker must be sent again: each request that the last one took with it.

        A request that was lost ``MOST_LOSSES`` times is answered ``Unavailable`` instead.
        """
        lost = [entry for entry in self._waiting.values() if entry.sent]
        for entry in lost:
            entry.sent = False
            entry.losses += 1
            if entry.losses >= MOST_LOSSES:
                del self._waiting[entry.request.id]
                if entry.answer.set_running_or_notify_cancel():
                    text = f"the broker was lost {entry.losses} times while it held this request"
                    entry.answer.set_exception(Unavailable(text, 1000))
        return [entry.request for entry in lost if entry.losses < MOST_LOSSES]

    def fail_all(self, error: RerankError) -> None:
        """Answer everything that waits with ``error``, a copy for each: who raises one writes on it."""
        waiting, self._waiting = self._waiting, {}
        for entry in waiting.values():
            if entry.answer.set_running_or_notify_cancel():
                entry.answer.set_exception(copy.copy(error))
