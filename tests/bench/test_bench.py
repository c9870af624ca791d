"""The bench: what it counts, what it prints, and that texts are never alike."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.bench.report import compare_requests, percentile
from openvino_reranker.bench.run import Group
from openvino_reranker.bench.texts import Workload
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.processes import RuntimeFolder, Service, clean_environment, run_program


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a model that costs little and reads 512 tokens: what is tried here is the counting."""
    made = tmp_path_factory.mktemp("tiny")
    weights = tiny_bert.make_weights(positions=512)
    folder = tiny_bert.write_folder(made / "tiny-reranker", weights, max_length=512, max_position_embeddings=512)
    model = pull(made / "cache", str(folder), "fp16", print)
    with (
        RuntimeFolder() as runtime,
        Service(runtime, model.folder, "--max-windows=1", OPENVINO_RERANKER_SCORE_CACHE_MB="32") as running,
    ):
        yield running


def bench(service: Service, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "openvino_reranker", "bench", *arguments],
        env=clean_environment(**service.settings),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_numbers_of_a_run_add_up(service: Service) -> None:
    before = service.status().counters
    done = bench(service, "--mix", "2x2", "--mix", "1x4:bulk", "--requests", "2", "--json", "--ceiling")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["requests"] == 6
    assert report["errors"] == {}
    # The report has hundredths of a second, and six such requests take a few.
    assert (2 * 2 + 4) * 2 / report["pairs_per_s"] == pytest.approx(report["seconds"], abs=0.006)
    assert report["groups"]["2x2"]["requests"] == 4
    assert report["groups"]["1x4:bulk"]["requests"] == 2
    for group in report["groups"].values():
        assert 0 < group["p50_ms"] <= group["p95_ms"] <= group["p99_ms"]
    assert set(report["rss_mb_before"]) == set(report["rss_mb_after"]) == {"broker", "worker", "http"}
    assert 0 <= report["padding_waste"] < 1
    assert report["ceiling"]["fixed_pairs_per_s"] > 0
    assert re.fullmatch(r"\d+ x \d+", report["ceiling"]["fixed_shape"])
    assert report["ceiling"]["ratio"] == pytest.approx(
        report["pairs_per_s"] / report["ceiling"]["pairs_per_s"], rel=0.01
    )
    after = service.status().counters
    assert after["pairs"] - before["pairs"] == (2 * 2 + 4) * 2 + 3  # and a pair of each caller to open connections
    assert after["joined_pairs"] == before["joined_pairs"]
    assert after["cached_pairs"] == before["cached_pairs"]


def test_repeated_passages_come_from_the_cache(service: Service) -> None:
    done = bench(service, "--mix", "1x4", "--requests", "3", "--repeat", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cached_share"] == pytest.approx(4 / 13, abs=1e-3)  # and a pair to open with


def test_a_lone_caller_is_compared_request_by_request(service: Service) -> None:
    before = service.status().counters
    done = bench(service, "--mix", "1x2", "--requests", "5", "--json", "--ceiling")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["requests"] == 5
    assert report["ceiling"]["request_p50_ms"] > 0
    assert report["ceiling"]["floor_p50_ms"] > 0
    assert "added_p50_ms" in report["ceiling"]  # any number, on a machine that others use too
    # Two rounds with a pair each to open connections, and five requests beside the engine alone.
    assert service.status().counters["pairs"] - before["pairs"] == 2 * (5 + 5) + 2


def test_what_the_service_adds_is_the_median_difference() -> None:
    took = [(10.0, 12.0), (20.0, 21.0), (5.0, 9.0), (30.0, 90.0), (7.0, 6.0)]
    assert compare_requests(took, [0.4, 0.2, 0.3]) == {
        "request_p50_ms": 10.0,
        "added_p50_ms": 2.0,
        "floor_p50_ms": 0.3,
    }


def test_over_http_it_prints_a_table(service: Service) -> None:
    done = bench(service, "--url", service.url, "--mix", "1x2", "--requests", "2")
    assert done.returncode == 0, done.stderr
    for part in ("pairs/s", "callers x passages", "1x2", "errors    none", "memory    worker:"):
        assert part in done.stdout


def test_without_a_service_it_says_so() -> None:
    done = run_program("bench", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("openvino-reranker: cannot reach http://127.0.0.1:1")


@pytest.mark.parametrize("text", ["", "8", "x", "8x", "x20", "0x5", "5x0", "-1x5", "1x5:urgent"])
def test_a_mix_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not CALLERSxPASSAGES|after the colon"):
        Group.parse(text)
    assert run_program("bench", f"--mix={text}").returncode == 2


def test_passages_are_all_different_in_a_run_and_in_another() -> None:
    runs = [Workload(), Workload()]
    passages = [
        text for run in runs for seed in range(4) for _, texts in islice(run.requests(20, seed), 30) for text in texts
    ]
    passages += [text for run in runs for seed in range(4) for text in run.opening(seed)[1]]
    assert len(set(passages)) == len(passages) == 2 * 4 * (30 * 20 + 1)
    assert list(islice(runs[0].requests(5, 3), 4)) == list(islice(Workload(salt=runs[0].salt).requests(5, 3), 4))


@given(st.integers(1, 30), st.floats(0, 1))
def test_so_many_passages_of_a_request_were_asked_before(passages: int, repeat: float) -> None:
    asked: set[tuple[str, str]] = set()
    for number, (question, texts) in enumerate(islice(Workload(repeat).requests(passages, 1), 5)):
        known = sum((question, text) in asked for text in texts)
        assert known == (round(passages * repeat) if number else 0)
        assert len(texts) == passages
        asked |= {(question, text) for text in texts}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) <= share * len(values)
