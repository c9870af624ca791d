"""Long documents and repeated questions, asked of the real service with the real model."""

import asyncio

import httpx
import pytest
from openvino_reranker.client import AsyncReranker, InvalidArgument, Ranking, Reranker
from openvino_reranker.tests.processes import Service

QUESTION = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
FILLER = "Übrigens: the café on the corner sells naïve paintings of “dogs” and 東京 postcards. " * 40


def document(before: int, after: int) -> str:
    return FILLER[: before * len(FILLER) // 2] + ANSWER + " " + FILLER[: after * len(FILLER) // 2]


def test_the_answer_is_found_wherever_it_stands_and_can_be_quoted(service: Service) -> None:
    documents = [document(0, 2), document(1, 1), document(2, 0), FILLER]
    with Reranker(service.socket) as reranker:
        ranking = reranker.rerank(QUESTION, documents, max_windows=8)
        first_only = reranker.rerank(QUESTION, documents, max_windows=1)
    assert ranking.order[3] == 3
    for hit in ranking.hits[:3]:
        assert hit.windows > 1
        assert not hit.truncated
        assert ANSWER in documents[hit.index][hit.window.start : hit.window.end]
    alone = {hit.index: hit for hit in first_only.hits}
    assert alone[2].truncated
    assert (alone[2].windows, alone[2].window.start) == (1, 0)
    assert alone[2].score < ranking.hits[0].score - 5  # its beginning says nothing of Berlin


def test_a_windows_score_is_that_of_its_text(service: Service) -> None:
    text = document(2, 0)
    with Reranker(service.socket) as reranker:
        (hit,) = reranker.rerank(QUESTION, [text]).hits
        (alone,) = reranker.rerank(QUESTION, [text[hit.window.start : hit.window.end]]).hits
    assert alone.score == pytest.approx(hit.score, abs=1e-3)
    assert (alone.windows, alone.truncated) == (1, False)


def test_a_repeated_question_is_answered_from_the_cache(service: Service) -> None:
    documents = [ANSWER + " (again)", document(1, 0) + "again", "asked before, or not"]

    async def ask_twice() -> tuple[Ranking, Ranking]:
        async with AsyncReranker(service.socket) as reranker:
            return await reranker.rerank(QUESTION, documents), await reranker.rerank(QUESTION, documents[::-1])

    first, again = asyncio.run(ask_twice())
    assert (first.cached, again.cached) == (0, 3)
    assert {hit.score for hit in first.hits} == {hit.score for hit in again.hits}
    assert {hit.window for hit in first.hits} == {hit.window for hit in again.hits}
    assert again.timings_ms.inference == 0


@pytest.mark.parametrize(("field", "value"), [("max_windows", 0), ("max_windows", 65), ("window_stride", 0)])
def test_bad_values_are_refused_by_name(service: Service, field: str, value: int) -> None:
    with (
        Reranker(service.socket) as reranker,
        pytest.raises(InvalidArgument, match=f"{field} is {value}; it must"),
    ):
        reranker.rerank(QUESTION, [ANSWER], **{field: value})  # type: ignore[arg-type]
    assert httpx.get(service.url + "/healthz").status_code == 200
