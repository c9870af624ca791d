"""nDCG, reciprocal rank and recall: by hand, and what must hold for any ranking."""

import math
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openvino_reranker.bench.metrics import ndcg, recall, reciprocal_rank

QRELS = {"a": 2, "b": 1, "c": 0, "elsewhere": 1}

grades = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(0, 3), min_size=1)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[str], dict[str, int]]:
    """A ranking of some documents, and grades for some: neither need know the other's."""
    qrels = draw(grades)
    assume(any(qrels.values()))
    ranked = sorted(qrels.keys() | draw(st.sets(st.sampled_from("abcdefghijklmn"))))
    return draw(st.permutations(ranked)), qrels


def test_numbers_worked_out_by_hand() -> None:
    ranking = ["c", "b", "a", "d"]
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranking, QRELS, 10) == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert ndcg(ranking, QRELS, 2) == pytest.approx((1 / math.log2(3)) / (2 + 1 / math.log2(3)))
    assert reciprocal_rank(ranking, QRELS, 10) == 0.5
    assert reciprocal_rank(ranking, QRELS, 1) == 0.0
    assert recall(ranking, QRELS, 10) == pytest.approx(2 / 3)
    assert recall(ranking, QRELS, 2) == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", [ndcg, recall])
def test_without_a_relevant_document_there_is_nothing_to_measure(metric: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="no document is relevant"):
        metric(["a"], {"a": 0}, 10)


@given(rankings(), st.integers(1, 15))
def test_all_lie_between_0_and_1(drawn: tuple[list[str], dict[str, int]], k: int) -> None:
    ranking, qrels = drawn
    for metric in (ndcg, recall, reciprocal_rank):
        assert 0 <= metric(ranking, qrels, k) <= 1 + 1e-12


@given(rankings(), st.integers(1, 15))
def test_the_ideal_order_gets_all_that_can_be_had(drawn: tuple[list[str], dict[str, int]], k: int) -> None:
    ranking, qrels = drawn
    ideal = sorted(ranking, key=lambda document: -qrels.get(document, 0))
    assert ndcg(ideal, qrels, k) == pytest.approx(1)
    assert reciprocal_rank(ideal, qrels, k) == 1
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric(ranking, qrels, k) <= metric(ideal, qrels, k) + 1e-12


@given(rankings(), st.integers(1, 15), st.data())
def test_moving_a_better_document_up_never_costs(
    drawn: tuple[list[str], dict[str, int]], k: int, data: st.DataObject
) -> None:
    ranking, qrels = drawn
    assume(len(ranking) > 1)
    upper, lower = sorted(data.draw(st.sets(st.integers(0, len(ranking) - 1), min_size=2, max_size=2)))
    if qrels.get(ranking[lower], 0) < qrels.get(ranking[upper], 0):
        ranking[lower], ranking[upper] = ranking[upper], ranking[lower]
    assume(qrels.get(ranking[lower], 0) > qrels.get(ranking[upper], 0))
    swapped = ranking.copy()
    swapped[upper], swapped[lower] = ranking[lower], ranking[upper]
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric(swapped, qrels, k) >= metric(ranking, qrels, k) - 1e-12
    if upper < k:
        assert ndcg(swapped, qrels, k) > ndcg(ranking, qrels, k)


@given(rankings(), st.integers(1, 15))
def test_what_lies_below_k_does_not_count(drawn: tuple[list[str], dict[str, int]], k: int) -> None:
    ranking, qrels = drawn
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric(ranking, qrels, k) == metric(ranking[:k], qrels, k)
        assert metric(ranking[:k] + ranking[k:][::-1], qrels, k) == metric(ranking, qrels, k)


@given(rankings())
def test_documents_of_one_grade_can_change_places(drawn: tuple[list[str], dict[str, int]]) -> None:
    ranking, qrels = drawn
    by_grade: dict[int, list[str]] = {}
    for document in ranking:
        by_grade.setdefault(qrels.get(document, 0), []).insert(0, document)
    renamed = [by_grade[qrels.get(document, 0)].pop() for document in reversed(ranking)][::-1]
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric(renamed, qrels, 10) == metric(ranking, qrels, 10)


@given(rankings(), st.integers(1, 15))
def test_only_the_ratios_of_the_grades_count(drawn: tuple[list[str], dict[str, int]], k: int) -> None:
    ranking, qrels = drawn
    assert ndcg(ranking, {name: grade * 5 for name, grade in qrels.items()}, k) == pytest.approx(
        ndcg(ranking, qrels, k)
    )
