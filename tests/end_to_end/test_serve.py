"""The whole service, as a person runs it."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import Program, Service, clean_environment, is_alive, run_program

BERLIN = "How many people live in Berlin?"
PASSAGES = [
    "Berlin is well known for its museums.",
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
]


def test_the_first_request_of_the_readme(service: Service) -> None:
    body = {
        "query": "how do I verify OpenVINO NPU usage?",
        "documents": [
            {"id": "bad", "text": "This note is about making sourdough starter."},
            {
                "id": "good",
                "text": "Check /sys/class/accel/accel0/device/npu_busy_time_us before and after inference.",
            },
        ],
        "top_k": 2,
    }
    answer = service.post(body).json()
    assert answer["ok"] is True
    assert [result["id"] for result in answer["results"]] == ["good", "bad"]
    assert [result["index"] for result in answer["results"]] == [1, 0]
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(score) for score in scores)
    assert all(0 <= result["relevance_score"] <= 1 for result in answer["results"])
    assert answer["device"] == "CPU"
    assert answer["npu_busy_delta_us"] is None
    assert set(answer["timings_ms"]) == {"queue", "inference", "total"}


def test_the_second_request_of_the_readme(service: Service) -> None:
    body = {
        "model": "local-reranker",
        "query": "npu busy time",
        "documents": ["OpenVINO NPU busy time proves accelerator use."],
        "top_n": 1,
    }
    (result,) = service.post(body, "/v1/rerank").json()["results"]
    assert result["index"] == 0
    assert "id" not in result


def test_logits_are_the_models_through_http_and_through_the_client(service: Service) -> None:
    over_http = service.post({"query": BERLIN, "documents": PASSAGES}).json()["results"]
    with Reranker(service.socket) as reranker:
        ranking = reranker.rerank(BERLIN, PASSAGES)
    for scores in ([each["score"] for each in over_http], [hit.score for hit in ranking.hits]):
        assert scores == pytest.approx([9.0859, -3.9330], abs=0.02)
    assert ranking.order == [1, 0]
    assert ranking.precision == "f32"
    assert ranking.model == "packaged:ms-marco-MiniLM-L-12-v2"


def test_readyz_says_what_serves(service: Service) -> None:
    service.post({"query": "q", "documents": ["d"]})
    found = httpx.get(service.url + "/readyz").json()
    assert found["ready"] is True
    assert (found["device"], found["precision"], found["max_length"]) == ("CPU", "f32", 512)
    assert found["counters"]["requests"] >= 1
    assert {"requests", "pairs", "batches", "callers_per_batch"} <= set(found["counters"])
    assert found["limits"]["documents"] == 1000
    assert all(is_alive(pid) for pid in found["pids"].values())
    assert len(set(found["pids"].values())) == 3


CALLER = """
import sys, json
from openvino_reranker.client import Reranker
with Reranker(sys.argv[1]) as reranker:
    answers = []
    sys.stdin.readline()
    for turn in range(5):
        documents = [f"Fact {turn}: the number of caller {sys.argv[2]} is {sys.argv[2]}.", "Bread is baked."]
        answers.append(reranker.rerank(f"what is the number of caller {sys.argv[2]}?", documents).order)
print(json.dumps(answers))
"""


def test_requests_of_eight_processes_are_coalesced_and_answered_rightly(service: Service) -> None:
    before = service.status().counters
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(service.socket), str(number)],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    time.sleep(1.0)  # let them all connect, so that they ask at once
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda process: process.communicate("go\n", timeout=60)[0], processes))
    assert [json.loads(output) for output in outputs] == [[[0, 1]] * 5] * 8
    after = service.status().counters
    requests, batches, callers = (after[key] - before[key] for key in ("requests", "batches", "batch_callers"))
    assert requests == 40
    assert batches < requests
    assert callers / batches > 1


def test_smoke_holds_over_http_and_over_the_socket(service: Service) -> None:
    for target in (("--url", service.url), ("--socket", str(service.socket))):
        done = run_program("smoke", *target)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all checks hold" in done.stdout


def test_smoke_fails_where_nothing_runs(runtime: Path) -> None:
    assert run_program("smoke", "--url", "http://127.0.0.1:1", "--timeout", "1").returncode == 1
    done = run_program("smoke", "--socket", str(runtime / "requests.sock"))
    assert done.returncode == 1
    assert "openvino-reranker serve" in done.stdout


def test_status_in_words_and_in_json(service: Service) -> None:
    environment = {"OPENVINO_RERANKER_RUNTIME_DIR": str(service.runtime)}
    words = run_program("status", **environment)
    assert words.returncode == 0
    assert "ready     yes" in words.stdout
    found = json.loads(run_program("status", "--json", **environment).stdout)
    assert set(found["pids"]) == {"broker", "worker", "http"}
    assert all(is_alive(pid) for pid in found["pids"].values())
    assert found["worker"]["state"] in ("idle", "busy")
    assert found["queue"]["pairs"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_exits_0(runtime: Path, packaged: ReadyModel, number: signal.Signals) -> None:
    with Service(runtime, packaged.folder) as service:
        pids = httpx.get(service.url + "/readyz").json()["pids"].values()
        assert service.stop(number) == 0
        assert not any(is_alive(pid) for pid in pids)
        assert not list(runtime.glob("*.sock"))


def test_requests_under_way_are_answered_before_the_service_stops(runtime: Path, packaged: ReadyModel) -> None:
    with Service(runtime, packaged.folder) as service, ThreadPoolExecutor(1) as pool:
        body = {"query": "what is it?", "documents": [f"It is number {number}." for number in range(40)]}
        asked = pool.submit(service.post, body)
        while service.status().queue.requests == 0:
            time.sleep(0.005)
        assert service.stop() == 0
        assert asked.result().status_code == 200
        assert len(asked.result().json()["results"]) == 40


def test_a_second_signal_stops_everything_at_once(runtime: Path, packaged: ReadyModel) -> None:
    with Service(runtime, packaged.folder) as service:
        pids = httpx.get(service.url + "/readyz").json()["pids"].values()
        port = int(service.url.rsplit(":", 1)[1])
        # Given a caller that the front would wait for, and one that the broker would
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            stalled.sendall(b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert httpx.get(service.url + "/healthz").status_code == 200
            service.process.send_signal(signal.SIGINT)
            service.wait_for_line("stopping")
            time.sleep(0.5)
            assert service.process.poll() is None  # one signal lets it wait
            started = time.monotonic()
            assert service.stop(signal.SIGINT) == 0
            assert time.monotonic() - started < 4
        assert not any(is_alive(pid) for pid in pids)
        assert not list(runtime.glob("*.sock"))
        assert "Traceback" not in service.output


def test_verbose_reaches_every_component(runtime: Path, packaged: ReadyModel) -> None:
    with Service(runtime, packaged.folder, "--verbose") as service:
        answer = service.post({"query": BERLIN, "documents": PASSAGES})
        assert service.stop() == 0
    told = {line.split()[1] for line in service.lines if " DEBUG " in line}
    assert told == {"broker", "worker", "http"}
    assert any("batch 1: 2 pairs of " + answer.headers["x-request-id"] in line for line in service.lines)


def test_an_address_that_is_printed_is_answered_on(runtime: Path, packaged: ReadyModel) -> None:
    body = {"query": "q", "documents": ["d"]}
    with Service(runtime, packaged.folder, "--host", "0.0.0.0") as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert service.post(body).status_code == 200
        # No name for every address: any web page could have its own point here.
        assert service.post(body, headers={"Host": "0.0.0.0"}).status_code == 403
        assert service.post(body, headers={"Host": "192.168.1.5"}).status_code == 403
    with Service(runtime, packaged.folder, "--host", "127.0.0.2") as service:
        assert service.url.startswith("http://127.0.0.2:")
        assert service.post(body).status_code == 200
        assert service.post(body, headers={"Host": "127.0.0.3"}).status_code == 403


def test_a_proxy_is_not_asked_for_the_loopback(service: Service) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    for command in (["smoke"], ["bench", "--mix", "1x1", "--requests", "1"]):
        done = run_program(*command, "--url", service.url, **proxy)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_taken_port_fails_at_once_and_is_named(runtime: Path, packaged: ReadyModel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        started = time.monotonic()
        done = run_program(
            "serve",
            "--port",
            str(port),
            OPENVINO_RERANKER_RUNTIME_DIR=str(runtime),
            OPENVINO_RERANKER_MODEL_DIR=str(packaged.folder),
            OPENVINO_RERANKER_DEVICE="CPU",
        )
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "loading" not in done.stderr
    assert time.monotonic() - started < 10


def test_a_second_service_in_the_same_folder_leaves_the_first_alone(service: Service) -> None:
    with Program("serve", **service.settings) as second:
        assert second.process.wait(30) in (1, 73)  # its broker or its worker sees it first
    assert "another broker is listening" in second.output or "owned by another worker" in second.output
    assert service.post({"query": "q", "documents": ["d"]}).status_code == 200


def test_a_second_worker_says_who_owns_the_device(service: Service) -> None:
    done = run_program("worker", **service.settings)
    assert done.returncode == 73
    assert f"pid {service.status().worker.pid}" in done.stderr


def test_killing_serve_takes_its_children_with_it(runtime: Path, packaged: ReadyModel) -> None:
    with Service(runtime, packaged.folder) as service:
        pids = httpx.get(service.url + "/readyz").json()["pids"].values()
        service.process.kill()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_without_a_ready_model_serve_says_how_to_get_one(runtime: Path, tmp_path: Path) -> None:
    done = run_program(
        "serve",
        "--port=0",
        OPENVINO_RERANKER_RUNTIME_DIR=str(runtime),
        OPENVINO_RERANKER_CACHE=str(tmp_path),
        OPENVINO_RERANKER_DEVICE="CPU",
    )
    assert done.returncode == 78
    assert "openvino-reranker pull" in done.stderr


def test_a_stale_socket_is_replaced(runtime: Path, packaged: ReadyModel) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "requests.sock"))
    with Service(runtime, packaged.folder) as service:
        assert service.post({"query": "q", "documents": ["d"]}).status_code == 200
    assert os.listdir(runtime) == ["worker-cpu.lock"]  # noqa: PTH208
