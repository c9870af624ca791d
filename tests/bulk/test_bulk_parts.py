"""The parts of a bulk job that decide: what a row is, what is left, how long to wait, in which order rows come out."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from openvino_reranker.bulk.job import Files, rows_left
from openvino_reranker.bulk.journal import Journal, OutputConflict
from openvino_reranker.bulk.ranker import Ranker, rank_in_order
from openvino_reranker.bulk.retry_policy import GIVE_UP_S, RetryPolicy
from openvino_reranker.bulk.row import Outcome, Ranked, Rejected, Row, read_query
from openvino_reranker.bulk.source import JsonLines
from openvino_reranker.client import Reranker
from openvino_reranker.protocol.errors import DeadlineExceeded, Overloaded, Unavailable


def answer(number: int) -> Ranked:
    line = {"row": number, "qid": f"q{number}", "model": "m", "device": "CPU", "precision": "f32", "ranking": []}
    return Ranked(number, json.dumps(line, separators=(",", ":")).encode(), "m")


def question(number: int) -> str:
    return json.dumps({"qid": f"q{number}", "query": "q", "candidates": [{"id": 1, "text": "t"}]})


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "Input data was truncated"),
        (b'{"qid":"1","query":"q"}', "missing required field `candidates`"),
        (b'{"qid":"1","query":" ","candidates":[{"id":1,"text":"t"}]}', "query"),
        (b'{"qid":"1","query":"q","candidates":[]}', "candidates"),
        (b'{"qid":"1","query":"q","candidates":[{"id":1,"text":3}]}', r"Expected `str`, got `int`"),
        (b'{"qid":"1","query":"q","candidates":[{"id":1,"text":"t"},{"id":"1","text":"t"}]}', "the id '1'"),
        (b'{"qid":"1","query":"\xff","candidates":[{"id":1,"text":"t"}]}', "utf-8"),
        (b'{"qid":"1","query":"q","candidates":[{"id":1,"text":"t"}],"more":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_row_is_named(line: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        read_query(line)


def test_a_full_queue_is_waited_for_as_long_as_it_says_and_for_ever() -> None:
    retry_policy = RetryPolicy(0.0)
    assert retry_policy.pause_s(Overloaded("full", 1500), 0, 10 * GIVE_UP_S) == 1.5
    assert retry_policy.pause_s(Overloaded("full"), 7, 20 * GIVE_UP_S) == 1.0
    assert retry_policy.pause_s(Overloaded("full", 10**9), 7, 30 * GIVE_UP_S) == 60.0


def test_a_service_that_is_away_is_given_up_after_some_time_without_any_answer() -> None:
    retry_policy = RetryPolicy(0.0)
    pauses = [retry_policy.pause_s(Unavailable("away"), attempt, 1.0) for attempt in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert retry_policy.pause_s(Unavailable("the breaker", 3000), 0, 1.0) == 3.0
    assert retry_policy.pause_s(DeadlineExceeded("late"), 0, GIVE_UP_S - 1) is not None
    retry_policy.heard(GIVE_UP_S - 1)
    assert retry_policy.pause_s(Unavailable("away"), 5, 2 * GIVE_UP_S - 2) is not None
    assert retry_policy.pause_s(Unavailable("away"), 5, 2 * GIVE_UP_S - 1) is None


def test_rows_come_out_in_order_and_a_slow_one_does_not_hold_up_the_others() -> None:
    slow, others = threading.Event(), threading.Semaphore(0)

    def rank(row: Row) -> Outcome:
        if row.number == 1:
            assert slow.wait(30)
        others.release()
        return answer(row.number)

    def rows() -> "list[Row]":
        return [Row(number, b"") for number in range(1, 41)]

    def release() -> None:
        for _ in range(7):  # as many as may be done ahead of it: 4 x 2, and itself among them
            assert others.acquire(timeout=30)
        slow.set()

    releasing = threading.Thread(target=release)
    releasing.start()
    assert [outcome.number for outcome in rank_in_order(rows(), rank, 2)] == list(range(1, 41))
    releasing.join()


def test_a_torn_line_is_cut_off_and_its_row_done_again(tmp_path: Path) -> None:
    output, rejects = tmp_path / "out", tmp_path / "rejects"
    with Journal(output, rejects) as journal:
        assert journal.done == 0
        for number in (1, 2):
            journal.write(answer(number))
        journal.write(Rejected(3, "bad", b"{"))
        journal.write(answer(4))
    whole = output.read_bytes()
    for cut in range(whole.rindex(b'{"row":4'), len(whole)):
        output.write_bytes(whole[:cut])
        with Journal(output, rejects) as journal:
            assert journal.done == 3  # it was set aside, in the other file
            journal.write(answer(4))
        assert output.read_bytes() == whole
    assert json.loads(rejects.read_text()) == {"row": 3, "error": "bad", "line": "{"}


def test_rows_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", tmp_path / "rejects") as journal:
        journal.write(answer(1))
        with pytest.raises(OutputConflict, match="begun with m, but another serves now"):
            journal.write(replace(answer(2), model="another"))
    assert (tmp_path / "out").read_bytes().count(b"\n") == 1


def test_even_a_first_line_may_be_torn_and_lines_may_be_long(tmp_path: Path) -> None:
    output, rejects = tmp_path / "out", tmp_path / "rejects"
    output.write_bytes(b'{"ro')
    with Journal(output, rejects) as journal:
        assert journal.done == 0
        assert output.read_bytes() == b""
        for number in (1, 2):
            line = answer(number).line
            journal.write(Ranked(number, line.replace(b'"m"', b'"' + b"m" * 300_000 + b'"'), "m"))
    output.write_bytes(output.read_bytes()[:-2])
    with Journal(output, rejects) as journal:
        assert journal.done == 1
        assert journal.last is not None
        assert journal.last.qid == "q1"


@pytest.mark.parametrize("content", [b"notes of mine\n", b"notes", b'{"qid":1}\n', b'{"row":1,\n', b"\n", b'a\n{"row'])
def test_another_file_is_never_touched(tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "out"
    output.write_bytes(content)
    with pytest.raises(OutputConflict, match="choose another output"):
        Journal(output, tmp_path / "rejects")
    assert output.read_bytes() == content


def test_two_jobs_do_not_write_one_output(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", tmp_path / "rejects"), pytest.raises(OutputConflict, match="another job is writing"):
        Journal(tmp_path / "out", tmp_path / "rejects")


def test_rejects_of_an_output_that_was_removed_count_for_nothing(tmp_path: Path) -> None:
    output, rejects = tmp_path / "out", tmp_path / "rejects"
    with Journal(output, rejects) as journal:
        journal.write(Rejected(900, "bad", b"{"))
    output.unlink()
    with Journal(output, rejects) as journal:
        assert journal.done == 0
        assert not rejects.exists()


def test_what_is_left_is_what_stands_after_the_last_row_of_either_file(tmp_path: Path) -> None:
    files = Files(tmp_path / "in", tmp_path / "out")
    lines = [question(1), "", question(3), "{", question(5), question(6)]
    files.source.write_text("\n".join(lines) + "\n")
    source = JsonLines(files.source)
    with Journal(files.journal, files.rejects) as journal:
        assert source.count(journal.done) == (5, 0)
        assert [row.number for row in rows_left(source, journal, files)] == [1, 3, 4, 5, 6]
        journal.write(answer(1))
        journal.write(answer(3))
        journal.write(Rejected(4, "bad", b"{"))
    with Journal(files.journal, files.rejects) as journal:
        assert source.count(journal.done) == (5, 3)
        assert [row.number for row in rows_left(source, journal, files)] == [5, 6]


def test_an_output_of_another_input_is_not_continued(tmp_path: Path) -> None:
    files = Files(tmp_path / "in", tmp_path / "out")
    files.source.write_text(question(1) + "\n" + question(7) + "\n")
    with Journal(files.journal, files.rejects) as journal:
        journal.write(answer(1))
        journal.write(answer(2))
    for source in (question(1) + "\n" + question(7) + "\n", question(1) + "\n", "{\n{\n"):
        files.source.write_text(source)
        with (
            Journal(files.journal, files.rejects) as journal,
            pytest.raises(OutputConflict, match="belongs to another input"),
        ):
            rows_left(JsonLines(files.source), journal, files)


def test_rejects_of_another_input_are_not_continued(tmp_path: Path) -> None:
    files = Files(tmp_path / "in", tmp_path / "out")
    files.source.write_text("{\n" + question(2) + "\n")
    with Journal(files.journal, files.rejects) as journal:
        journal.write(Rejected(1, "bad", b"{\n"))
    with Journal(files.journal, files.rejects) as journal:
        assert [row.number for row in rows_left(JsonLines(files.source), journal, files)] == [2]
    files.source.write_text(question(1) + "\n" + question(2) + "\n")
    with (
        Journal(files.journal, files.rejects) as journal,
        pytest.raises(OutputConflict, match=r"rejected\.jsonl belongs to another input"),
    ):
        rows_left(JsonLines(files.source), journal, files)


def test_a_row_that_begins_as_the_job_stops_is_given_up_too(tmp_path: Path) -> None:
    class Late(Reranker):
        """Asks just after the first close, as a thread may that was busy with its texts."""

        closed = 0
        asked = threading.Event()

        def rerank(self, *_: object, **__: object) -> NoReturn:
            self.asked.set()
            while self.closed < 2:
                time.sleep(0.01)
            raise Unavailable("closed")

        def close(self) -> None:
            self.closed += 1

    reranker = Late(tmp_path / "requests.sock")
    ranker = Ranker(reranker)
    with ThreadPoolExecutor(1) as pool:
        ranked = pool.submit(ranker.rank, Row(1, question(1).encode()))
        assert reranker.asked.wait(30)
        ranker.stop()
        with pytest.raises(Exception, match=r"^$"):
            ranked.result(30)
