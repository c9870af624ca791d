"""The parts of the benchmarks that need no peer: what is asked, how it is counted, and what is told of it."""

import io
import json
import subprocess
import sys
import threading
from typing import Any
from xml.etree import ElementTree

import pytest
from openvino_reranker.benchmarks.machine import describe
from openvino_reranker.benchmarks.peer import run
from openvino_reranker.benchmarks.report import chart, table
from openvino_reranker.benchmarks.workload import LOADS, Texts
from openvino_reranker.tests.processes import ROOT, Service, clean_environment


def result(theirs: float) -> dict[str, Any]:
    def peer(name: str, rate: float) -> dict[str, Any]:
        loads = {load.name: {"pairs_per_s": rate, "p50_ms": 20, "p95_ms": 30} for load in LOADS}
        return {
            "name": name,
            "packages": {"torch": "1"},
            "ready_s": 1.5,
            "peak_mb": 500.0,
            "ndcg@10": 0.8,
            "loads": loads,
        }

    return {
        "date": "2026-11-25",
        "machine": describe(),
        "turns": 3,
        "loads": [{"name": load.name, "callers": load.callers} for load in LOADS],
        "peers": [peer("ours", 100.0), peer("slow & old", 10.0), peer("theirs", theirs)],
    }


def test_every_peer_is_asked_the_same_and_no_pair_twice() -> None:
    texts, again = Texts(seed=1), Texts(seed=1)
    seen = []
    for load in LOADS:
        requests = texts.requests(load)
        assert requests == again.requests(load)
        assert len(requests) == load.requests
        for _, passages in requests:
            assert len(passages) == load.passages
            assert all(load.words[0] <= len(passage.split()) <= load.words[1] for passage in passages)
            seen += passages
    assert len(set(seen)) == len(seen)
    assert Texts(seed=2).requests(LOADS[0]) != Texts(seed=1).requests(LOADS[0])


def test_callers_share_the_requests_and_keep_their_order() -> None:
    at_work, most = set[int](), 0

    def ask(query: str, documents: list[str]) -> list[float]:
        nonlocal most
        at_work.add(threading.get_ident())
        most = max(most, len(at_work))
        at_work.discard(threading.get_ident())
        return [float(len(document)) for document in documents]

    requests = [(str(number), ["x" * number, ""]) for number in range(20)]
    answer = run(ask, 4, requests, threading.Lock())
    assert answer["scores"] == [[float(number), 0.0] for number in range(20)]
    assert len(answer["took_ms"]) == 20  # type: ignore[arg-type]
    assert most == 1


def test_a_peer_that_fails_is_no_result() -> None:
    def ask(query: str, documents: list[str]) -> list[float]:
        raise OSError("busy")

    with pytest.raises(OSError, match="busy"):
        run(ask, 2, [("q", ["d"])] * 4, threading.Lock())


@pytest.mark.parametrize(("theirs", "told"), [(50.0, False), (125.0, True)])
def test_a_faster_peer_is_named(theirs: float, told: bool) -> None:
    text = table(result(theirs))
    assert ("0.80 times the best peer (theirs); it is the faster one here" in text) is told
    assert ("2.00 times the best peer (theirs)" in text) is not told
    assert "| ours | 100.0 (20 / 30) |" in text


def test_the_chart_is_an_image_for_light_and_dark() -> None:
    drawn = chart(result(200.0))
    root = ElementTree.parse(io.StringIO(drawn)).getroot()
    bars = [bar.get("width") for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == ["200", "20", "400"] * 2  # of 400, for the two loads with eight callers
    assert "prefers-color-scheme: dark" in drawn
    assert "slow &amp; old" in drawn


def test_the_service_answers_as_a_peer(service: Service) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "peer.py"), "service", service.url],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    commands = [{"callers": 2, "requests": [["who wrote Emma?", ["Jane Austen wrote Emma.", "A name."]]] * 3}]
    output, _ = process.communicate("".join(json.dumps(each) + "\n" for each in [*commands, {"memory": True}]), 120)
    ready, answer, memory = map(json.loads, output.splitlines())
    assert ready["ready_s"] > 0
    assert memory["peak_mb"] > 5
    assert len(answer["took_ms"]) == 3
    assert all(scores[0] > scores[1] for scores in answer["scores"])
