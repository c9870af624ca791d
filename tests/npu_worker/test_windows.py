"""Windows of long passages: where they lie, and that each is read as its text alone would be."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.npu_worker.windows import byte_offsets, window_spans
from openvino_reranker.protocol.worker_messages import Batch, Window, WindowPlan

QUERY = "How many people live in Berlin?"


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(2, 60), st.integers(0, 80), st.integers(1, 20))
def test_windows_overlap_or_touch_and_fit(starts: list[bool], room: int, stride: int, most: int) -> None:
    spans = window_spans(starts, room, stride, most)
    assert 1 <= len(spans) <= most
    assert spans[0][0] == 0
    assert all(0 < end - start <= room for start, end in spans)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start <= end < next_end
    assert spans[-1][1] == len(starts) or len(spans) == most


@given(st.integers(1, 400), st.integers(2, 60), st.integers(1, 60))
def test_without_words_windows_begin_a_stride_apart(count: int, room: int, stride: int) -> None:
    spans = window_spans([True] + [False] * (count - 1), room, stride, 1000)
    assert [start for start, _ in spans] == [number * min(stride, room) for number in range(len(spans))]
    assert spans[-1][1] == count


def test_windows_begin_and_end_between_words() -> None:
    starts = [place % 3 == 0 for place in range(30)]
    assert window_spans(starts, 10, 7, 9) == [(0, 9), (6, 15), (12, 21), (18, 27), (24, 30)]


@given(st.text(max_size=50), st.data())
def test_byte_offsets_are_those_of_the_characters(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    assert byte_offsets(text, places) == [len(text[:place].encode()) for place in places]


@pytest.fixture(scope="module")
def tokenizer(packaged: ReadyModel) -> PairTokenizer:
    return PairTokenizer(packaged.folder / "tokenizer.json", 96)


def windows_and_rows(tokenizer: PairTokenizer, passage: str, plan: WindowPlan) -> tuple[Row, list[tuple[str, Row]]]:
    """Return the passage's row, and each of its windows' texts with the row of that text alone."""
    (first,) = tokenizer.encode(QUERY, [passage], [plan])
    read = passage.encode()
    texts = [read[window.start : window.end].decode() for window in first.windows]
    return first, list(zip(texts, tokenizer.encode(QUERY, texts, [WindowPlan()] * len(texts)), strict=True))


WORDS = st.sampled_from(
    [
        "Berlin",
        "embeddings",
        "naïve",
        "Ünïcödé",
        "don't",
        "1234567",
        "東京都",
        "e\u0301te\u0301",
        "🙂",
        "x" * 30,
        "a-b_c",
    ]
)


@settings(max_examples=30)
@given(st.lists(WORDS, min_size=120, max_size=200), st.sampled_from([" ", "  ", "\n", ". "]), st.integers(0, 100))
@example(["embeddings"] * 200, " ", 0)
def test_a_windows_text_alone_is_read_as_the_window_is(words: list[str], between: str, stride: int) -> None:
    tokenizer = WORD_TOKENIZER[0]
    passage = between.join(words)
    first, windows = windows_and_rows(tokenizer, passage, WindowPlan(64, stride))
    assert len(windows) > 1
    assert first.ids == windows[0][1].ids
    for window, (_, row) in zip(first.windows, windows, strict=True):
        assert len(row) == window.tokens <= 96
        assert not row.truncated
    if not first.truncated:
        assert passage.endswith(windows[-1][0])


WORD_TOKENIZER: list[PairTokenizer] = []


@pytest.fixture(autouse=True, scope="module")
def _share_tokenizer(tokenizer: PairTokenizer) -> None:
    WORD_TOKENIZER.append(tokenizer)  # hypothesis wants no fixture of the function's own


@pytest.mark.parametrize(
    "passage",
    [
        "word " * 1000,
        "日本語の文章です。" * 100,
        ("q" * 90 + " ") * 50,  # words of many tokens
        "Straße e\u0301 ﬁ \u0130stanbul ΣΊΣΥΦΟΣ " * 60,  # the normaliser changes these
        " " * 20_000 + "word " * 300,
        "مرحبا بالعالم " * 150,
        "ภาษา ไทย คำ " * 200,
    ],
    ids=["ascii", "japanese", "long words", "normalised", "blanks first", "arabic", "thai"],
)
def test_windows_of_any_script_join_to_the_whole(tokenizer: PairTokenizer, passage: str) -> None:
    first, _ = windows_and_rows(tokenizer, passage, WindowPlan(64))
    read = passage.encode()
    assert first.windows[0].start == 0
    for window, following in pairwise(first.windows):
        assert window.start < following.start
        # What lies between two windows is blank at most.
        assert not read[window.end : following.start].strip()
    if not first.truncated:
        assert first.windows[-1].end == len(read)


def test_more_than_the_most_windows_is_truncated(tokenizer: PairTokenizer) -> None:
    (row,) = tokenizer.encode(QUERY, ["word " * 1000], [WindowPlan(3)])
    assert row.truncated
    assert len(row.windows) == 3
    (row,) = tokenizer.encode(QUERY, ["word " * 100], [WindowPlan(3)])
    assert not row.truncated


def test_one_window_or_a_short_passage_is_read_as_before(tokenizer: PairTokenizer) -> None:
    passages = ["word " * 1000, "word"]
    plain = tokenizer.encode(QUERY, passages)
    cut, short = tokenizer.encode(QUERY, passages, [WindowPlan(1)] * 2)
    assert (cut.ids, cut.types, cut.truncated, short) == (plain[0].ids, plain[0].types, True, plain[1])
    assert cut.windows == [Window(0, len("word " * 86) - 1, 96)]  # beside 7 tokens of the query and 3 special ones
    assert tokenizer.encode(QUERY, passages[1:], [WindowPlan(9)]) == plain[1:]


def test_the_first_window_scores_as_its_text_does(tiny: ReadyModel, tmp_path: Path) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    passage = "Berlin lives " * 200
    answer = engine.run(Batch(1, [b"berlin"], [(0, passage.encode())], [WindowPlan(5)]))
    (windows,) = answer.windows
    assert windows.position == 0
    assert len(windows.windows) == 5
    text = passage[: windows.windows[0].end]
    assert engine.score("berlin", [text]).logits == pytest.approx(answer.logits, abs=1e-6)
