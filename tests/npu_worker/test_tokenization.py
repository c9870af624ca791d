"""Rows are what the model's own tokenizer says a truncated pair is, however long the texts."""

import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.tokenization import MIN_PASSAGE_TOKENS, PairTokenizer, QueryTooLong
from tokenizers import Tokenizer

PASSAGES = [
    "",
    " ",
    "Berlin is well known for its museums.",
    "word " * 509,
    "word " * 700,
    "wörd é́ü " * 3_000,
    "a" * 100_000,
    " " * 300_000 + "the end",
    ("x" * 90 + " ") * 500,
    "日本語の文章です。" * 400,
    "\u0300" * 20_000 + " accents",
]


@pytest.fixture(scope="module")
def tokenizer(packaged: ReadyModel) -> PairTokenizer:
    return PairTokenizer(packaged.folder / "tokenizer.json", 512)


@pytest.fixture(scope="module")
def reference(packaged: ReadyModel) -> Tokenizer:
    made = Tokenizer.from_file(str(packaged.folder / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(512, strategy="only_second")
    return made


@pytest.mark.parametrize("query", ["q", "How many people live in Berlin?", "w " * 477])
def test_rows_equal_the_librarys_own_pairs(tokenizer: PairTokenizer, reference: Tokenizer, query: str) -> None:
    rows = tokenizer.encode(query, PASSAGES)
    for passage, row in zip(PASSAGES, rows, strict=True):
        expected = reference.encode(query, passage)
        assert row.ids == expected.ids
        assert row.types == expected.type_ids
        assert row.truncated == bool(expected.overflowing)
        assert len(row) <= 512


def test_types_mark_the_two_halves(tokenizer: PairTokenizer) -> None:
    (row,) = tokenizer.encode("one two", ["three"])
    assert row.types == [0, 0, 0, 0, 1, 1]


def test_a_query_that_leaves_no_room_is_refused(tokenizer: PairTokenizer) -> None:
    assert tokenizer.max_query_tokens == 512 - 3 - MIN_PASSAGE_TOKENS
    with pytest.raises(QueryTooLong, match="query has 478 tokens; at most 477"):
        tokenizer.encode("w " * 478, ["passage"])
