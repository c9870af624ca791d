"""What may come in: the bounds on one request and on all that waits, whole and per caller."""

from collections import Counter

from ..client.errors import InvalidRequest, Overloaded, RerankError, TooLarge
from ..client.limits import Limits
from ..client.protocol import Rerank


def check_request(message: Rerank, limits: Limits) -> None:
    """Check one request against the bounds on its own size.

    Raises:
        InvalidRequest: No documents, an empty query, or a text that is not UTF-8.
        TooLarge: Over a bound, which the message names.
    """
    if not message.query.strip():
        raise InvalidRequest("query is empty")
    if len(message.query) > limits.query_bytes:
        raise TooLarge(f"query has {len(message.query)} bytes; the limit is {limits.query_bytes}")
    if not message.documents:
        raise InvalidRequest("documents is empty; at least one document is needed")
    if len(message.documents) > limits.documents:
        raise TooLarge(f"{len(message.documents)} documents; the limit is {limits.documents} in one request")
    _check_text(message.query, "query")
    total = 0
    for index, document in enumerate(message.documents):
        if len(document) > limits.document_bytes:
            raise TooLarge(f"documents[{index}] has {len(document)} bytes; the limit is {limits.document_bytes}")
        total += len(document)
        _check_text(document, f"documents[{index}]")
    if total > limits.request_bytes:
        raise TooLarge(f"the documents have {total} bytes together; the limit is {limits.request_bytes}")


def _check_text(text: bytes, where: str) -> None:
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{where} is not valid UTF-8: {error.reason} at byte {error.start}") from None


class Admission:
    """Counts what waits and refuses what would be too much.

    Law of this class: every ``enter`` is matched by one ``leave`` of the same amounts.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pairs = 0
        self.bytes = 0
        self._caller_pairs: Counter[str] = Counter()
        self._caller_bytes: Counter[str] = Counter()

    def refusal(self, caller: str, pairs: int, size: int, retry_after_ms: int) -> RerankError | None:
        """Return why ``pairs`` more pairs of ``size`` bytes may not wait, or None if they may."""
        for name, amount, bound in (
            ("queued_pairs", self.pairs + pairs, self._limits.queued_pairs),
            ("queued_bytes", self.bytes + size, self._limits.queued_bytes),
            ("caller_pairs", self._caller_pairs[caller] + pairs, self._limits.caller_pairs),
            ("caller_bytes", self._caller_bytes[caller] + size, self._limits.caller_bytes),
        ):
            if amount > bound:
                return Overloaded(f"the queue is full: {name} would be {amount}, the limit is {bound}", retry_after_ms)
        return None

    def enter(self, caller: str, pairs: int, size: int) -> None:
        """Count a request in."""
        self.pairs += pairs
        self.bytes += size
        self._caller_pairs[caller] += pairs
        self._caller_bytes[caller] += size

    def leave(self, caller: str, pairs: int, size: int) -> None:
        """Count a request (or some pairs of one) out."""
        self.pairs -= pairs
        self.bytes -= size
        self._caller_pairs[caller] -= pairs
        self._caller_bytes[caller] -= size
        if not self._caller_pairs[caller] and not self._caller_bytes[caller]:
            del self._caller_pairs[caller], self._caller_bytes[caller]
