"""Judged collections: what is read, what is refused and how that is said, and the one that ships."""

import json
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from openvino_reranker.bench.judged import JudgedQuery, Quality, WrongLines, by_score, quality, read_judged
from openvino_reranker.tests.processes import ROOT

SAMPLE = ROOT / "examples" / "python_docs"


def line(**changes: Any) -> bytes:
    whole: dict[str, Any] = {
        "qid": "q1",
        "query": "what?",
        "candidates": [{"id": "a", "text": "one"}, {"id": "b", "text": ""}],
        "qrels": {"b": 2, "elsewhere": 1},
    }
    return json.dumps({key: value for key, value in (whole | changes).items() if value is not ...}).encode() + b"\n"


def test_a_line_is_a_query_with_candidates_and_grades() -> None:
    (query,) = read_judged([b"\n", line(more="ignored")])
    assert query == JudgedQuery("q1", "what?", ("a", "b"), ("one", ""), {"b": 2, "elsewhere": 1})
    (numbered,) = read_judged([line(qid=7, candidates=[{"id": 3, "text": "x"}], qrels={"3": 0.5})])
    assert (numbered.qid, numbered.ids, numbered.qrels) == ("7", ("3",), {"3": 0.5})


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (b"{", "line 2: Input data was truncated"),
        (b"[]", "line 2: Expected `object`, got `array`"),
        (line(query=...), "line 2: Object missing required field `query`"),
        (line(query=" "), r"line 2: Expected `str` matching regex .* - at `\$.query`"),
        (line(qid=""), r"line 2: Expected `str` of length >= 1 - at `\$.qid`"),
        (line(candidates=[]), r"line 2: Expected `array` of length >= 1 - at `\$.candidates`"),
        (line(candidates=["a"]), r"line 2: Expected `object`, got `str` - at `\$.candidates\[0\]`"),
        (line(candidates=[{"id": "a"}]), r"line 2: Object missing required field `text` - at `\$.candidates\[0\]`"),
        (line(candidates=[{"id": "a", "text": ""}] * 2), "line 2: two candidates have the id 'a'"),
        (line(qrels={"a": -1}), r"line 2: Expected `float` >= 0.0 - at `\$.qrels\[...\]`"),
        (line(qrels={"a": "2"}), r"line 2: Expected `float`, got `str` - at `\$.qrels\[...\]`"),
        (line(qid="q0"), "line 2: qid 'q0' is already used in line 1"),
        (b"\xff{}", "line 2: "),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(wrong: bytes, what: str) -> None:
    with pytest.raises(WrongLines, match=what):
        read_judged([line(qid="q0"), wrong, line(qid="q2")])


def test_all_wrong_lines_are_named_at_once() -> None:
    with pytest.raises(WrongLines) as caught:
        read_judged([line(), b"{", b"\n", b"[]"])
    assert [part.split(":")[0] for part in str(caught.value).split("\n")] == ["line 2", "line 4"]


def test_a_file_without_a_query_is_refused() -> None:
    with pytest.raises(WrongLines, match="there is no query in it"):
        read_judged([b"", b"  \n"])


def test_ties_keep_the_order_of_the_first_stage() -> None:
    query = JudgedQuery("q", "?", ("a", "b", "c", "d"), ("", "", "", ""), {"a": 1})
    assert by_score(query, [0.5, 2.0, 0.5, 2.0]) == ["b", "d", "a", "c"]


def test_means_are_over_what_can_be_measured() -> None:
    known = JudgedQuery("q", "?", ("a", "b"), ("", ""), {"b": 1})
    unknown = JudgedQuery("r", "?", ("a",), ("",), {"a": 0})
    assert [known.measurable, unknown.measurable] == [True, False]
    assert quality([known, unknown], [["b", "a"], ["a"]]) == Quality(1.0, 1.0, 1.0)
    assert quality([known, unknown], [["a", "b"], ["a"]]).mrr == 0.5


@pytest.fixture(scope="module")
def judged_lines() -> Callable[[], Any]:
    spec = spec_from_file_location("first_stage", SAMPLE / "first_stage.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    lines: Callable[[], Any] = module.judged_lines
    return lines


def test_the_sample_is_what_its_script_makes_of_the_questions(judged_lines: Callable[[], Any]) -> None:
    assert "".join(judged_lines()) == (SAMPLE / "judged.jsonl").read_text("utf-8")


def test_the_sample_has_a_grade_for_every_candidate_and_room_above_its_first_stage() -> None:
    with (SAMPLE / "judged.jsonl").open("rb") as file:
        queries = read_judged(file)
    passages = {json.loads(text)["id"] for text in (SAMPLE / "passages.jsonl").read_text("utf-8").splitlines()}
    assert len(queries) >= 60
    for query in queries:
        assert len(query.ids) == 20
        assert set(query.ids) <= set(query.qrels) <= passages
        assert set(query.qrels.values()) <= {0, 1, 2}
        assert any(query.qrels[name] == 2 for name in query.ids), query.qid
    first = quality(queries, [query.ids for query in queries])
    assert 0.5 < first.ndcg < 0.7
