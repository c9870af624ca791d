"""Running means of tokens per millisecond and bytes per token, and the batch sizes and waits that follow."""

from collections.abc import Sequence

from ..protocol.worker_messages import BatchResult, Bucket
from .batch_budget import BatchBudget
from .request import Entry

#: English WordPiece has 4 to 5 bytes a token; the first batches correct it.
_FIRST_BYTES_PER_TOKEN = 4.0
#: ``[CLS]``, ``[SEP]``, ``[SEP]``.
SPECIAL_TOKENS = 3
#: Weight of the newest batch in a running mean.
_NEWEST = 0.2
#: A batch before anything was measured, tokens.
_FIRST_BUDGET = 512.0
#: The smallest batch, tokens: below it a device works at a fraction of its rate, so it would only get slower.
_LEAST_BUDGET = 512.0
#: A batch takes this share of what waits if that is more than the usual batch, and at most this many usual batches.
_SHARE_OF_WAITING = 1 / 6
_DEEPEST = 3.0


class ThroughputEstimator:
    """Running estimates of a worker's speed and of the texts it gets.

    Args:
        max_length: The longest pair the model reads, tokens.
        most_tokens: The most padded tokens the worker takes in a batch.
        buckets: Its static shapes; none for dynamic shapes.
        batch_ms: The device time a batch should take, ms: one batch is as long as anybody waits for another.
    """

    def __init__(self, max_length: int, most_tokens: int, buckets: Sequence[Bucket], batch_ms: float) -> None:
        self._max_length = max_length
        self._most_tokens = most_tokens
        self.set_buckets(buckets)
        self._batch_ms = batch_ms
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN
        self.tokens_per_ms: float | None = None

    def set_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Take the worker's static shapes, which may come one by one; none for dynamic shapes."""
        self._buckets = sorted(buckets)

    def length(self, size: int) -> int:
        """Estimate the tokens of a pair from the bytes of its texts."""
        return min(self._max_length, SPECIAL_TOKENS + round(size / self._bytes_per_token))

    def cost(self, tokens: int) -> float:
        """Return what the device runs for a pair of this length, in padded tokens."""
        for bucket in self._buckets:
            if tokens <= bucket.tokens:
                return bucket.cost
        return self._buckets[-1].cost if self._buckets else float(tokens)

    def budget(self, waiting_tokens: int = 0) -> BatchBudget:
        """Return the budget of a batch, within what the worker takes.

        It is ``batch_ms`` long; where much waits, a share of that, up to three times as long: longer batches pad less
        and run in fuller shapes, and a caller that waits for seconds anyway does not notice.

        Args:
            waiting_tokens: What waits, tokens; 0 where batches are to stay short for requests that may arrive.
        """
        if self.tokens_per_ms is None:
            target = _FIRST_BUDGET
        else:
            usual = self.tokens_per_ms * self._batch_ms
            target = min(max(usual, waiting_tokens * _SHARE_OF_WAITING), usual * _DEEPEST)
        return BatchBudget(min(max(target, _LEAST_BUDGET), self._most_tokens), self._most_tokens)

    def wait_ms(self, tokens: int) -> int:
        """Estimate how long this many tokens will take, ms; at least 1000 (``Retry-After`` has seconds)."""
        return max(1000, round(tokens / (self.tokens_per_ms or _FIRST_BUDGET / self._batch_ms)))

    def learn(self, entries: Sequence[Entry], result: BatchResult) -> None:
        """Learn from a batch that was scored: from pairs that were read whole, how many bytes a token has."""
        cut = set(result.truncated).union(windowed.position for windowed in result.windows)
        whole = [
            (len(request.query) + len(request.texts[index]), tokens - SPECIAL_TOKENS)
            for place, (((request, index), *_), tokens) in enumerate(zip(entries, result.tokens, strict=True))
            if place not in cut and tokens > SPECIAL_TOKENS
        ]
        self.observe(
            size=sum(size for size, _ in whole),
            tokens=sum(tokens for _, tokens in whole),
            padded_tokens=result.padded_tokens,
            inference_ms=result.inference_ms,
        )

    def observe(self, size: int, tokens: int, padded_tokens: int, inference_ms: float) -> None:
        """Learn from a batch: the bytes of its texts, its true tokens, and what the device took.

        Args:
            size: Bytes of the untruncated pairs' texts.
            tokens: Their tokens, special tokens excluded.
            padded_tokens: What the device ran.
            inference_ms: For so long.
        """
        if tokens > 0 and size > 0:
            self._bytes_per_token += _NEWEST * (min(max(size / tokens, 0.5), 16.0) - self._bytes_per_token)
        if inference_ms > 0 and padded_tokens > 0:
            rate = padded_tokens / inference_ms
            self.tokens_per_ms = (
                rate if self.tokens_per_ms is None else self.tokens_per_ms + _NEWEST * (rate - self.tokens_per_ms)
            )
