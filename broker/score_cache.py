"""The score cache: a (query, document) that was scored before does not go to the device again.

It holds no text, only a keyed hash of it. Least recently used scores go first when the bound is reached.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import replace

from .request import DocumentScore, RowKey

#: Bytes an entry takes: its key, its score and its place in the ordered dict; measured with CPython 3.11, rounded up.
ENTRY_BYTES = 400


class ScoreCache:
    """Scores of whole documents by what they depend on, for one model at a time.

    Args:
        max_bytes: The bound; 0 switches the cache off.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_entries = max_bytes // ENTRY_BYTES
        self._secret = secrets.token_bytes(32)
        self._scores: OrderedDict[bytes, DocumentScore] = OrderedDict()
        self._model: object = None

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def enabled(self) -> bool:
        """Whether anything is ever kept."""
        return self._max_entries > 0

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self._scores) * ENTRY_BYTES

    def use_model(self, model: object) -> None:
        """Forget everything if another model (name, device, precision, length) serves now."""
        if model != self._model:
            self._scores.clear()
            self._model = model

    def digest(self, key: RowKey) -> bytes:
        """Return what stands for the exact texts and the way of reading them: a keyed hash, 16 bytes."""
        query, text, plan = key
        hashed = hashlib.blake2b(digest_size=16, key=self._secret)
        # With its length before it, the query cannot run over into the text.
        hashed.update(b"%d,%d,%d:" % (len(query), plan.max_windows, plan.stride))
        hashed.update(query)
        hashed.update(text)
        return hashed.digest()

    def get(self, digest: bytes) -> DocumentScore | None:
        """Return a copy of the score, or None."""
        score = self._scores.get(digest)
        if score is None:
            return None
        self._scores.move_to_end(digest)
        return replace(score)

    def put(self, digest: bytes, score: DocumentScore) -> None:
        """Keep a complete score; only where the cache is ``enabled``."""
        self._scores[digest] = replace(score)
        self._scores.move_to_end(digest)
        if len(self._scores) > self._max_entries:
            self._scores.popitem(last=False)
