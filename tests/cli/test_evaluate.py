"""``evaluate``: the numbers it prints, and what it says of files and services that will not do."""

import json
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.tests.processes import ROOT, Run, Service

SAMPLE = ROOT / "examples" / "python_docs" / "judged.jsonl"


def line(qid: str, query: str, grades: dict[str, int], **texts: str) -> str:
    candidates = [{"id": name, "text": text} for name, text in texts.items()]
    return json.dumps({"qid": qid, "query": query, "candidates": candidates, "qrels": grades})


#: Two queries whose answer stands last, one whose answer stands first, and one without.
LINES = [
    line(
        "people",
        "how many people live in Berlin?",
        {"a": 0, "b": 2},
        a="Berlin has museums.",
        b="3.5 million people live in Berlin.",
    ),
    line(
        "bread",
        "why does my bread not rise",
        {"b": 2, "c": 1},
        a="The sun rises.",
        b="Bread does not rise with dead yeast.",
    ),
    line("emma", "who wrote Emma?", {"a": 1}, a="Jane Austen wrote Emma.", b="Emma is a name."),
    line("none", "what is this?", {"a": 0}, a="A text."),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "judged.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_the_numbers_are_those_of_the_order(service: Service, run: Run, data: Path) -> None:
    before = service.status().counters["pairs"]
    done = run("evaluate", str(data), "--json", **service.settings)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert service.status().counters["pairs"] - before == report["pairs"] == 7
    assert (report["queries"], report["queries_without_a_relevant_document"]) == (4, 1)
    # First stage: the answers stand second, second and first; one of the bread's two relevant texts was not fetched.
    assert report["first_stage"] == {"ndcg@10": 0.7035, "mrr@10": 0.6667, "recall@10": 0.8333}
    assert report["second_stage"] == {"ndcg@10": 0.9201, "mrr@10": 1.0, "recall@10": 0.8333}
    assert (report["better"], report["worse"]) == (2, 0)
    assert report["model"] == service.status().worker.model
    assert report["pairs_per_s"] == pytest.approx(7 / report["seconds"], rel=0.1)
    assert report["target"] == str(service.socket)
    # Again, it is not the score cache that is measured.
    batches = service.status().counters["batches"]
    assert (
        json.loads(run("evaluate", str(data), "--json", **service.settings).stdout)["second_stage"]
        == report["second_stage"]
    )
    assert service.status().counters["batches"] > batches
    assert done.stderr == ""  # no progress bar where nobody looks


def test_over_http_it_prints_a_table(service: Service, run: Run, data: Path) -> None:
    done = run("evaluate", "-", "--url", service.url, stdin=data.read_text(), **service.settings)
    assert done.returncode == 0, done.stderr
    rows = [row.split() for row in done.stdout.splitlines()]
    assert ["nDCG@10", "MRR@10", "recall@10"] in rows
    assert ["first", "stage", "0.7035", "0.6667", "0.8333"] in rows
    assert ["second", "stage", "0.9201", "1.0000", "0.8333"] in rows
    assert ["difference", "+0.2166", "+0.3333", "+0.0000"] in rows
    assert "better than the first stage's for 2 queries and worse for 0" in done.stdout
    assert "left out of the means: 1 queries without a relevant document" in done.stdout


def test_the_sample_gains_from_the_second_stage(service: Service, run: Run, tmp_path: Path) -> None:
    some = tmp_path / "some.jsonl"
    some.write_text("".join(SAMPLE.read_text("utf-8").splitlines(keepends=True)[::12]), "utf-8")
    done = run("evaluate", str(some), "--json", **service.settings)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["pairs"] == 6 * 20
    assert report["second_stage"]["ndcg@10"] > report["first_stage"]["ndcg@10"]


def test_a_query_that_fails_is_named(service: Service, run: Run, data: Path) -> None:
    data.write_text(data.read_text() + line("long", "word " * 600, {"a": 1}, a="text"))
    done = run("evaluate", str(data), **service.settings)
    assert done.returncode == 1
    assert done.stderr.startswith("openvino-reranker: query long: ")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no query in it"),
        (LINES[3], "no query has a relevant document"),
        (f"{LINES[0]}\n{{}}\n{LINES[0]}", "line 2: Object missing required field `qid`"),
        (f"{LINES[0]}\n\n{LINES[0]}", "line 3: qid 'people' is already used in line 1"),
        ("?\n" * 23, "line 20: JSON is malformed: invalid character (byte 0)\n  and 3 more\n"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_its_lines(run: Run, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(text)
    done = run("evaluate", str(path), "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"openvino-reranker: {path} cannot be evaluated:\n  ")
    assert says in done.stderr


def test_a_missing_file_and_a_missing_service_are_named(run: Run, tmp_path: Path, data: Path) -> None:
    missing = run("evaluate", str(tmp_path / "none.jsonl"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "No such file or directory" in missing.stderr
    alone = run("evaluate", str(data), "--socket", str(tmp_path / "requests.sock"))
    assert alone.returncode == 1
    assert alone.stderr.startswith("openvino-reranker: query people: no rerank service: ")
    wrong = run("evaluate", str(data), "--url", "127.0.0.1:18818")
    assert wrong.returncode == 1
    assert "is not an http URL" in wrong.stderr
