"""Pairs of texts, turned into the rows of numbers a cross-encoder reads.

A row is ``[CLS] query [SEP] passage [SEP]`` with token types 0 for the first part and 1 for the second (or
whatever the model's own ``tokenizer.json`` says a pair looks like). Only the passage is ever truncated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from .errors import ModelUnusable

#: What must be left for a passage beside the query, tokens: with less the score would say nothing.
MIN_PASSAGE_TOKENS = 32
#: Characters of a passage read first: far more than the longest row holds, unless the text is mostly blanks.
_FIRST_CLIP = 8192
#: Distinct queries whose tokens are kept: pairs of one request come in several batches.
_KEPT_QUERIES = 256


class QueryTooLong(ValueError):
    """The query leaves no room for a passage."""


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded pair: ``ids`` and ``types`` of equal length, and whether the passage was cut."""

    ids: list[int]
    types: list[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class PairTokenizer:
    """Encodes pairs for one model.

    Args:
        path: The model's ``tokenizer.json``; padding and truncation written in it are ignored.
        max_length: The longest row, tokens.

    Raises:
        ModelUnusable: The file cannot be read.
    """

    def __init__(self, path: Path, max_length: int) -> None:
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelUnusable(f"cannot read {path}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.max_length = max_length
        self.max_query_tokens = max_length - self._tokenizer.num_special_tokens_to_add(True) - MIN_PASSAGE_TOKENS
        self._encode_query = lru_cache(_KEPT_QUERIES)(self._encode_query_uncached)

    def encode(self, query: str, passages: Sequence[str]) -> list[Row]:
        """Encode the pairs of one query.

        Raises:
            QueryTooLong: The query has more than ``max_query_tokens`` tokens.
        """
        asked = self._encode_query(query)
        room = self.max_length - self._tokenizer.num_special_tokens_to_add(True) - len(asked)
        read = self._encode_passages(passages, room)
        rows = []
        for passage in read:
            truncated = len(passage) > room
            if truncated:
                passage.truncate(room)
            pair = self._tokenizer.post_process(asked, passage)
            rows.append(Row(pair.ids, pair.type_ids, truncated))
        return rows

    def _encode_query_uncached(self, query: str) -> Encoding:
        encoding = self._encode_plain([query])[0]
        if len(encoding) > self.max_query_tokens:
            raise QueryTooLong(
                f"query has {len(encoding)} tokens; at most {self.max_query_tokens} leave room for a passage"
            )
        return encoding

    def _encode_passages(self, passages: Sequence[str], room: int) -> list[Encoding]:
        """Encode passages, reading of a long one only as much as fills ``room`` for certain.

        Tokens depend on the characters near them only, so the tokens of a beginning are the beginning of the
        tokens, except near the cut; 64 tokens more than needed keep the cut out of sight.
        """
        clip = _FIRST_CLIP
        encodings = self._encode_plain([passage[:clip] for passage in passages])
        unsure = [
            place for place, passage in enumerate(passages) if len(passage) > clip and len(encodings[place]) < room + 64
        ]
        while unsure:
            clip *= 8
            again = self._encode_plain([passages[place][:clip] for place in unsure])
            for place, encoding in zip(unsure, again, strict=True):
                encodings[place] = encoding
            unsure = [place for place in unsure if len(passages[place]) > clip and len(encodings[place]) < room + 64]
        return encodings

    def _encode_plain(self, texts: list[str]) -> list[Encoding]:
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return encodings
