"""Admission: the bounds on one request and on everything that waits, in total and per caller."""

from collections import Counter

from ..protocol.client_messages import Rerank
from ..protocol.errors import InvalidRequest, Overloaded, RerankError
from ..protocol.limits import Limits
from ..protocol.validation import documents_flaw, query_flaw


def flaw(message: Rerank, limits: Limits) -> InvalidRequest | None:
    """Return what is wrong with one request, or None."""
    if (message.max_windows or 1) > limits.windows:
        return InvalidRequest(f"max_windows is {message.max_windows}; the limit is {limits.windows}")
    return query_flaw(message.query, limits) or documents_flaw(len(message.documents), message.documents, limits)


class Admission:
    """Count what waits, and refuse what would exceed a bound.

    A caller's named stream may hold as much as is still free of the caller's bound, so that one stream cannot
    lock the others out.

    Invariant: every ``enter`` is matched by one ``leave`` of the same amounts.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pairs = 0
        self.bytes = 0
        self._caller_pairs: Counter[str] = Counter()
        self._caller_bytes: Counter[str] = Counter()
        self._stream_pairs: Counter[tuple[str, str]] = Counter()
        self._stream_bytes: Counter[tuple[str, str]] = Counter()

    def refusal(self, caller: str, stream: str, pairs: int, size: int, retry_after_ms: int) -> RerankError | None:
        """Return why ``pairs`` more pairs of ``size`` bytes may not wait, or None if they may."""
        limits = self._limits
        of_caller = self._caller_pairs[caller], self._caller_bytes[caller]
        bounds = [
            ("queued_pairs", self.pairs + pairs, limits.queued_pairs),
            ("queued_bytes", self.bytes + size, limits.queued_bytes),
            ("caller_pairs", of_caller[0] + pairs, limits.caller_pairs),
            ("caller_bytes", of_caller[1] + size, limits.caller_bytes),
        ]
        if stream:
            key = caller, stream
            bounds += [
                ("caller_pairs of one stream", self._stream_pairs[key] + pairs, limits.caller_pairs - of_caller[0]),
                ("caller_bytes of one stream", self._stream_bytes[key] + size, limits.caller_bytes - of_caller[1]),
            ]
        for name, amount, bound in bounds:
            if amount > bound:
                return Overloaded(f"the queue is full: {name} would be {amount}, the limit is {bound}", retry_after_ms)
        return None

    def waiting(self, caller: str) -> int:
        """Return how many pairs of a caller wait."""
        return self._caller_pairs[caller]  # a Counter: looking adds nothing

    def enter(self, caller: str, stream: str, pairs: int, size: int) -> None:
        """Count a request in."""
        self.pairs += pairs
        self.bytes += size
        self._caller_pairs[caller] += pairs
        self._caller_bytes[caller] += size
        if stream:
            self._stream_pairs[caller, stream] += pairs
            self._stream_bytes[caller, stream] += size

    def leave(self, caller: str, stream: str, pairs: int, size: int) -> None:
        """Count a request (or some pairs of one) out."""
        self.pairs -= pairs
        self.bytes -= size
        self._caller_pairs[caller] -= pairs
        self._caller_bytes[caller] -= size
        if not self._caller_pairs[caller] and not self._caller_bytes[caller]:
            del self._caller_pairs[caller], self._caller_bytes[caller]
        if stream:
            key = caller, stream
            self._stream_pairs[key] -= pairs
            self._stream_bytes[key] -= size
            if not self._stream_pairs[key] and not self._stream_bytes[key]:
                del self._stream_pairs[key], self._stream_bytes[key]
