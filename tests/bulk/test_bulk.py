"""``bulk`` as a person runs it: a real broker, and a worker that scores a document by its length."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.tests.processes import Program, Run, broker
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

ROWS = 60


def row(number: int, candidates: int = 5) -> dict[str, Any]:
    lengths = random.Random(number).choices(range(1, 50), k=candidates)
    return {
        "qid": number,
        "query": f"question {number}",
        "candidates": [{"id": f"d{place}", "text": f"{place} {'x' * length}"} for place, length in enumerate(lengths)],
    }


def ranking(asked: dict[str, Any]) -> list[str]:
    """The candidates' ids as the worker orders them: the longest first."""
    return [each["id"] for each in sorted(asked["candidates"], key=lambda each: -len(each["text"]))]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=20)
    else:
        path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(path: Path, rows: list[dict[str, Any]]) -> None:
    """Check that each row is there once, in order, and ranked."""
    answers = read(path)
    assert [answer["row"] for answer in answers] == list(range(1, len(rows) + 1))
    for answer, asked in zip(answers, rows, strict=True):
        assert answer["qid"] == str(asked["qid"])
        assert [place["id"] for place in answer["ranking"]] == ranking(asked)
        for place in answer["ranking"]:
            assert asked["candidates"][place["index"]]["id"] == place["id"]
            assert place["score"] == len(asked["candidates"][place["index"]]["text"])


StartWorker = Callable[[float], TinyWorker]


@pytest.fixture
def start_worker(runtime: Path) -> Iterator[StartWorker]:
    started: list[TinyWorker] = []

    def start(seconds_per_batch: float) -> TinyWorker:
        started.append(TinyWorker(runtime / "workers.sock", seconds_per_batch))
        with Reranker(runtime / "requests.sock") as reranker:
            while not reranker.status().ready:
                time.sleep(0.01)
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def counters(runtime: Path) -> dict[str, Any]:
    with Reranker(runtime / "requests.sock") as reranker:
        return dict(reranker.status().counters)


@pytest.mark.parametrize("names", [("in.jsonl", "out.jsonl"), ("in.parquet", "out.parquet"), ("in.parquet", "out")])
def test_every_row_is_ranked_once_and_wrong_ones_are_set_aside(
    runtime: Path, tmp_path: Path, run: Run, start_worker: StartWorker, names: tuple[str, str]
) -> None:
    source, output = (tmp_path / name for name in names)
    rows = [row(number) for number in range(1, ROWS + 1)]
    rows[40]["candidates"] *= 2  # ids twice
    rows[50]["query"] = " "
    write(source, rows)
    command = ("bulk", str(source), str(output), "--runtime-dir", str(runtime))
    with broker(runtime):
        start_worker(0.0)
        done = run(*command)
        assert done.returncode == 3, done.stderr
        assert f"{ROWS - 2} rows ranked into {output}" in done.stderr
        assert f"are in {output}.rejected.jsonl, 2 of them from this run" in done.stderr
        asked = counters(runtime)["requests"]
        assert asked == ROWS - 2
        # Again, nothing is left to do, and nothing is asked.
        before = output.read_bytes()
        again = run(*command)
        assert again.returncode == 3, again.stderr
        assert output.read_bytes() == before
        assert counters(runtime)["requests"] == asked
    answers = {answer["row"]: answer for answer in read(output)}
    assert set(answers) == set(range(1, ROWS + 1)) - {41, 51}
    assert all([place["id"] for place in answers[n]["ranking"]] == ranking(rows[n - 1]) for n in answers)
    first, second = read(Path(f"{output}.rejected.jsonl"))
    assert (first["row"], second["row"]) == (41, 51)
    assert "two candidates have the id" in first["error"]
    assert "query" in second["error"]
    assert json.loads(first["line"])["qid"] == 41
    assert len(list(tmp_path.iterdir())) == 3  # and nothing half made


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_stopped_goes_on_where_it_was(
    runtime: Path, tmp_path: Path, run: Run, start_worker: StartWorker, name: str, number: signal.Signals
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / name
    growing = output if name == "out.jsonl" else tmp_path / "out.parquet.partial.jsonl"
    rows = [row(number) for number in range(1, ROWS + 1)]
    write(source, rows)
    command = ("bulk", str(source), str(output), "--runtime-dir", str(runtime), "--concurrency", "4")
    with broker(runtime):
        start_worker(0.02)
        written = 0
        for more in (5, 15):
            with Program(*command) as program:
                until = time.monotonic() + 30
                while not growing.exists() or growing.read_bytes().count(b"\n") < written + more:
                    assert time.monotonic() < until, program.output
                    assert program.process.poll() is None, program.output
                    time.sleep(0.005)
                status = program.stop(number)
            written = growing.read_bytes().count(b"\n")
            assert written < ROWS
            assert not output.exists() or output == growing
            if number == signal.SIGINT:
                assert status == 130
                assert f"{written} of {ROWS} rows are done; run the same command again to continue" in program.output
                assert "Traceback" not in program.output
        asked = counters(runtime)["requests"]
        done = run(*command)
        assert done.returncode == 0, done.stderr
        assert f"{ROWS - written} rows ranked" in done.stderr
        assert counters(runtime)["requests"] - asked == ROWS - written  # none was done again
    check(output, rows)


def test_a_full_queue_is_waited_for_and_several_rows_are_under_way(
    runtime: Path, tmp_path: Path, run: Run, start_worker: StartWorker
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [row(number, candidates=1000) for number in range(1, 15)]
    write(source, rows)
    with broker(runtime):
        start_worker(0.02)
        with Reranker(runtime / "requests.sock") as reranker:
            # A broker that has not met its worker's speed would have the others wait for a slower one's.
            reranker.rerank("how fast is it?", [each["text"] for each in row(0, 1000)["candidates"]])
        done = run("bulk", str(source), str(output), "--runtime-dir", str(runtime), "--concurrency", "14")
        assert done.returncode == 0, done.stderr
        assert counters(runtime)["refused_overloaded"] > 0  # 14,000 pairs, and a caller may have 10,000
    check(output, rows)


def test_a_broker_that_is_away_for_a_while_is_waited_for(
    runtime: Path, tmp_path: Path, start_worker: StartWorker
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [row(number) for number in range(1, ROWS + 1)]
    write(source, rows)
    with broker(runtime) as first:
        start_worker(0.02)
        with Program("bulk", str(source), str(output), "--runtime-dir", str(runtime)) as program:
            while not output.exists() or output.read_bytes().count(b"\n") < 5:
                assert program.process.poll() is None, program.output
                time.sleep(0.01)
            first.process.kill()
            program.wait_for_line("waiting for the service: ")
            with broker(runtime):
                assert program.process.wait(60) == 0, program.output
    check(output, rows)


def test_where_nothing_is_to_be_done_it_says_so_at_once(runtime: Path, tmp_path: Path, run: Run) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [row(1)])
    away = ("--runtime-dir", str(runtime))
    done = run("bulk", str(source), str(output), *away)
    assert done.returncode == 1
    assert "no rerank service" in done.stderr
    assert run("bulk", str(tmp_path / "none"), str(output), *away).returncode == 1
    output.write_text("notes of mine\n")
    done = run("bulk", str(source), str(output), *away)
    assert "choose another output" in done.stderr
    wrong = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({"qid": [1], "query": ["q"]}), wrong)
    done = run("bulk", str(wrong), str(tmp_path / "new"), *away)
    assert f"{wrong} has no column 'candidates'" in done.stderr
    wrong.write_text("text")
    done = run("bulk", str(wrong), str(tmp_path / "new"), *away)
    assert "is not a Parquet file" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ray_it_names_the_extra(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # not installed, wherever this runs
    write(tmp_path / "in.jsonl", [row(1)])
    done = run("bulk", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--ray", "auto")
    assert done.returncode == 1
    assert "install 'openvino-reranker[ray]'" in done.stderr


def test_another_model_does_not_continue_an_output(
    runtime: Path, tmp_path: Path, run: Run, start_worker: StartWorker
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [row(1)])
    with broker(runtime):
        start_worker(0.0)
        command = ("bulk", str(source), str(output), "--runtime-dir", str(runtime))
        assert run(*command).returncode == 0
        output.write_text(output.read_text().replace('"tiny"', '"large"'))
        write(source, [row(1), row(2)])
        done = run(*command)
    assert done.returncode == 1
    assert "the output was begun with large, but tiny serves now" in done.stderr


def test_it_is_work_that_waits_behind_others(runtime: Path, tmp_path: Path, start_worker: StartWorker) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [row(number, candidates=200) for number in range(1, 40)])
    with broker(runtime):
        start_worker(0.1)
        with (
            Program("bulk", str(source), str(tmp_path / "out"), "--runtime-dir", str(runtime)) as program,
            Reranker(runtime / "requests.sock") as reranker,
        ):
            while reranker.status().queue.pairs < 1000:
                assert program.process.poll() is None, program.output
                time.sleep(0.01)
            waited = [reranker.rerank(f"q{number}", ["a", "b"]).timings_ms.queue for number in range(5)]
            assert reranker.status().queue.pairs > 500
            assert max(waited) < 400  # behind the batches that run, not behind the queue of many
            program.process.kill()


def test_what_is_not_a_file_is_refused_and_so_is_an_input_that_would_be_written_over(
    runtime: Path, tmp_path: Path, run: Run
) -> None:
    source, pipe = tmp_path / "in.jsonl", tmp_path / "pipe"
    write(source, [row(1)])
    os.mkfifo(pipe)
    done = run("bulk", str(pipe), str(tmp_path / "out"), "--runtime-dir", str(runtime))
    assert done.returncode == 1
    assert f"{pipe} is not a regular file" in done.stderr
    rejects = tmp_path / "out.rejected.jsonl"
    write(rejects, [row(1)])
    for taken, output in ((source, source), (rejects, tmp_path / "out")):
        before = taken.read_bytes()
        done = run("bulk", str(taken), str(output), "--runtime-dir", str(runtime))
        assert done.returncode == 1
        assert "would be written over" in done.stderr
        assert taken.read_bytes() == before


def test_a_parquet_row_that_is_not_utf8_is_set_aside_alone(
    runtime: Path, tmp_path: Path, run: Run, start_worker: StartWorker
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = pa.Table.from_pylist([row(number) for number in (1, 2, 3)])
    queries = pa.array([b"question 1", b"\xff", b"question 3"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("query"), "query", queries), source)
    stale = output.with_name("out.parquet.partial.jsonl")
    with broker(runtime):
        start_worker(0.0)
        command = ("bulk", str(source), str(output), "--runtime-dir", str(runtime))
        assert run(*command).returncode == 3
        # What a kill just before its end leaves of a job does not become part of the next one.
        stale.write_text("")
        assert run(*command).returncode == 3
        assert not stale.exists()
    assert [answer["row"] for answer in read(output)] == [1, 3]
    (rejected,) = read(tmp_path / "out.parquet.rejected.jsonl")
    assert rejected["row"] == 2
    assert "utf-8" in rejected["error"]
