"""Pairs of texts, turned into the rows of numbers a cross-encoder reads.

A row is ``[CLS] query [SEP] passage [SEP]`` with token types 0 for the first part and 1 for the second (or
whatever the model's own ``tokenizer.json`` says a pair looks like). Only the passage is ever truncated, or read in
windows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from ..protocol.worker_messages import Window, WindowPlan
from .errors import ModelUnusable
from .windows import byte_offsets, window_spans

#: What must be left for a passage beside the query, tokens: with less the score would say nothing.
MIN_PASSAGE_TOKENS = 32
#: Characters of a passage read first, at least: far more than a row holds, unless the text is mostly blanks.
_FIRST_CLIP = 8192
#: Distinct queries whose tokens are kept: pairs of one request come in several batches.
_KEPT_QUERIES = 256


class QueryTooLong(ValueError):
    """The query leaves no room for a passage."""


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded pair.

    Attributes:
        ids: Its tokens.
        types: The token type of each: 0 for the query's half, 1 for the passage's.
        truncated: The passage's end is not read, in this row or in its other windows.
        windows: The windows of a passage that is not read whole at once, this row's first.
    """

    ids: list[int]
    types: list[int]
    truncated: bool
    windows: Sequence[Window] = ()

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

    def encode(self, query: str, passages: Sequence[str], plans: Sequence[WindowPlan] = ()) -> list[Row]:
        """Encode the pairs of one query.

        A passage longer than the model reads at once is cut, or where its plan says so, read in windows: its row is
        the first window, and names them all. One window alone ends where the library's own truncation would.

        Args:
            query: The query; never cut.
            passages: The passages.
            plans: How to read each of them when it is long; none: cut them, and do not say where.

        Raises:
            QueryTooLong: The query has more than ``max_query_tokens`` tokens.
        """
        query_encoding = self._encode_query(query)
        room = self.max_length - self._tokenizer.num_special_tokens_to_add(True) - len(query_encoding)
        encodings = self._encode_passages(passages, room, self._encode_plain)
        rows = []
        for place, encoding in enumerate(encodings):
            if len(encoding) <= room:
                rows.append(self._row(query_encoding, encoding, truncated=False))
            elif plans:
                rows.append(self._first_window(query_encoding, passages[place], room, plans[place]))
            else:
                encoding.truncate(room)
                rows.append(self._row(query_encoding, encoding, truncated=True))
        return rows

    def _row(self, query: Encoding, passage: Encoding, *, truncated: bool, windows: Sequence[Window] = ()) -> Row:
        pair = self._tokenizer.post_process(query, passage)
        return Row(pair.ids, pair.type_ids, truncated, windows)

    def _first_window(self, query: Encoding, passage: str, room: int, plan: WindowPlan) -> Row:
        (encoding,) = self._encode_passages([passage], room * plan.max_windows, self._encode_with_offsets)
        words = encoding.word_ids
        word_starts = [place == 0 or words[place - 1] != word for place, word in enumerate(words)]
        spans = [(0, room)]
        if plan.max_windows > 1:
            spans = window_spans(word_starts, room, plan.stride, plan.max_windows)
        characters = encoding.offsets
        begins = [0, *(characters[first][0] for first, _ in spans[1:])]
        ends = [characters[last - 1][1] for _, last in spans]
        truncated = spans[-1][1] < len(encoding)
        if not truncated:
            ends[-1] = len(passage)
        special = len(query) + self._tokenizer.num_special_tokens_to_add(True)
        windows = [
            Window(begin, end, last - first + special)
            for begin, end, (first, last) in zip(
                byte_offsets(passage, begins), byte_offsets(passage, ends), spans, strict=True
            )
        ]
        encoding.truncate(spans[0][1])
        return self._row(query, encoding, truncated=truncated, windows=windows)

    def _encode_query_uncached(self, query: str) -> Encoding:
        encoding = self._encode_plain([query])[0]
        if len(encoding) > self.max_query_tokens:
            raise QueryTooLong(
                f"query has {len(encoding)} tokens; at most {self.max_query_tokens} leave room for a passage"
            )
        return encoding

    def _encode_passages(
        self, passages: Sequence[str], room: int, encode: Callable[[list[str]], list[Encoding]]
    ) -> list[Encoding]:
        """Encode passages, reading of a long one only as much as fills ``room`` tokens for certain.

        Tokens depend on the characters near them only, so the tokens of a beginning are the beginning of the
        tokens, except near the cut; 64 tokens more than needed keep the cut out of sight.
        """
        clip = max(_FIRST_CLIP, 8 * room)
        encodings = encode([passage[:clip] for passage in passages])
        unsure = [
            place for place, passage in enumerate(passages) if len(passage) > clip and len(encodings[place]) < room + 64
        ]
        while unsure:
            clip *= 8
            again = encode([passages[place][:clip] for place in unsure])
            for place, encoding in zip(unsure, again, strict=True):
                encodings[place] = encoding
            unsure = [place for place in unsure if len(passages[place]) > clip and len(encodings[place]) < room + 64]
        return encodings

    def _encode_plain(self, texts: list[str]) -> list[Encoding]:
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return encodings

    def _encode_with_offsets(self, texts: list[str]) -> list[Encoding]:
        encodings: list[Encoding] = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return encodings
