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
from openvino_reranker.client import DeadlineExceeded, Reranker, Unavailable
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import ROOT, QuickService, Run, Service, clean_environment, is_alive, run_program
from openvino_reranker.tests.systemd.manager import NotifySocket, unix_listener

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


#: What each of several programs runs: it connects, waits for its line, then asks.
CALLER = """
import sys, json
from openvino_reranker.client import Reranker
with Reranker(sys.argv[1]) as reranker:
    answers = []
    print(reranker.status().ready, flush=True)
    sys.stdin.readline()
    for turn in range(5):
        documents = [f"Fact {turn}: the number of caller {sys.argv[2]} is {sys.argv[2]}.", "Bread is baked."]
        answers.append(reranker.rerank(f"what is the number of caller {sys.argv[2]}?", documents).order)
print(json.dumps(answers))
"""


def test_requests_of_several_processes_are_coalesced_and_answered_rightly(service: Service) -> None:
    before = service.status().counters
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(service.socket), str(number)],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:  # all are connected before the first asks
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda process: process.communicate("go\n", timeout=60)[0], processes))
    assert [json.loads(output) for output in outputs] == [[[0, 1]] * 5] * 4
    after = service.status().counters
    requests, batches, callers = (after[key] - before[key] for key in ("requests", "batches", "batch_callers"))
    assert requests == 20
    assert batches < requests
    assert callers / batches > 1


def test_smoke_holds_over_http_and_over_the_socket(service: Service, run: Run) -> None:
    for target in (("--url", service.url), ("--socket", str(service.socket))):
        done = run("smoke", *target)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all checks passed" in done.stdout


def test_smoke_fails_where_nothing_runs(runtime: Path, run: Run) -> None:
    assert run("smoke", "--url", "http://127.0.0.1:1", "--timeout", "1").returncode == 1
    done = run("smoke", "--socket", str(runtime / "requests.sock"))
    assert done.returncode == 1
    assert "openvino-reranker serve" in done.stdout


def test_status_in_words_and_in_json(service: Service, run: Run) -> None:
    words = run("status", "--runtime-dir", str(service.runtime))
    assert words.returncode == 0
    assert "ready     yes" in words.stdout
    found = json.loads(run("status", "--json", "--runtime-dir", str(service.runtime)).stdout)
    assert set(found["pids"]) == {"broker", "worker", "http"}
    assert all(is_alive(pid) for pid in found["pids"].values())
    assert found["worker"]["state"] in ("idle", "busy")
    assert found["queue"]["pairs"] == 0


def test_it_says_where_it_is_ready_and_ctrl_c_stops_all_of_it(
    runtime: Path, tiny: ReadyModel, notify_socket: NotifySocket
) -> None:
    # Given the socket of a broker that was killed, and a service manager
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "requests.sock"))
    body = {"query": BERLIN, "documents": PASSAGES}
    with Service(runtime, tiny.folder, "--verbose", "--host", "0.0.0.0", **notify_socket.environment()) as service:
        # Then the address that is printed is answered on
        assert service.url.startswith("http://127.0.0.1:")
        service.wait_for_line(f"to try it in a browser: {service.url}/")
        answer = service.post(body)
        assert answer.status_code == 200
        # No name for every address: any web page could have its own point here.
        assert service.post(body, headers={"Host": "0.0.0.0"}).status_code == 403
        assert service.post(body, headers={"Host": "192.168.1.5"}).status_code == 403
        # The service manager hears of all three at once
        assert service.url in notify_socket.wait_for("STATUS=")
        pids = httpx.get(service.url + "/readyz").json()["pids"].values()
        assert service.stop(signal.SIGINT) == 0
    assert [notify_socket.said.count(each) for each in ("READY=1", "STOPPING=1")] == [1, 1]
    assert not any(is_alive(pid) for pid in pids)
    assert sorted(path.name for path in runtime.iterdir()) == ["notify", "serve.lock", "worker-cpu.lock"]
    # And each of them has logged what it did
    assert {line.split()[1] for line in service.lines if " DEBUG " in line} == {"broker", "worker", "http"}
    assert any("batch 1: 2 pairs of " + answer.headers["x-request-id"] in line for line in service.lines)


def test_requests_under_way_are_answered_before_the_service_stops(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service, ThreadPoolExecutor(1) as pool:
        # Given a request of half a second or so
        documents = [f"people live in berlin {number} " + "population " * 50 for number in range(1000)]
        asked = pool.submit(service.post, {"query": "people", "documents": documents})
        while service.status().queue.requests == 0:
            assert not asked.done()
        # When the service is stopped meanwhile, then it is answered all the same
        assert service.stop() == 0
        assert asked.result().status_code == 200
        assert len(asked.result().json()["results"]) == 1000


def test_a_second_signal_stops_everything_at_once(runtime: Path, tiny: ReadyModel) -> None:
    with Service(runtime, tiny.folder) as service:
        pids = httpx.get(service.url + "/readyz").json()["pids"].values()
        port = int(service.url.rsplit(":", 1)[1])
        # Given a caller that the front would wait for
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            stalled.sendall(b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert httpx.get(service.url + "/healthz").status_code == 200
            service.process.send_signal(signal.SIGINT)
            service.wait_for_line("stopping")
            time.sleep(0.3)
            assert service.process.poll() is None  # one signal lets it wait
            assert service.stop(signal.SIGINT, timeout=6) == 0  # less than the drain's 10 s
        assert not any(is_alive(pid) for pid in pids)
        assert not list(runtime.glob("*.sock"))
        assert "Traceback" not in service.output


def test_a_proxy_is_not_asked_for_the_loopback(service: Service, run: Run) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    for command in (["smoke"], ["bench", "--mix", "1x1", "--requests", "1"]):
        done = run(*command, "--url", service.url, **proxy)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_taken_fails_before_anything_is_loaded(service: Service, runtime: Path, run: Run) -> None:
    port = service.url.rsplit(":", 1)[1]
    done = run("serve", "--port", port, "--runtime-dir", str(runtime), "--device", "CPU")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    # A folder that another one serves in, and one in which a broker alone does
    done = run("serve", "--port", "0", "--runtime-dir", str(service.runtime))
    assert done.returncode == 1
    assert f"another 'openvino-reranker serve' (pid {service.process.pid}) is using the runtime folder" in done.stderr
    with unix_listener(runtime / "requests.sock"):
        done = run("serve", "--port", "0", "--runtime-dir", str(runtime))
    assert done.returncode == 1
    assert f"another broker (pid {os.getpid()}) is listening on {runtime}/requests.sock" in done.stderr
    assert "ready:" not in done.stdout
    assert service.post({"query": "q", "documents": ["d"]}).status_code == 200


@pytest.mark.parametrize("command", ["serve", "broker", "worker"])
def test_a_runtime_folder_that_cannot_be_used_is_named(runtime: Path, run: Run, tiny: ReadyModel, command: str) -> None:
    (runtime / "file").touch()
    folder = runtime / "file" / "folder"
    options = ("--device", "CPU", "--model-dir", str(tiny.folder)) if command == "worker" else ()
    done = run(command, "--runtime-dir", str(folder), *options)
    assert done.returncode == (70 if command == "worker" else 1)
    assert str(folder) in done.stderr
    assert "Not a directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unexpected_error_in_the_worker_is_logged_and_is_status_70(
    runtime: Path, run: Run, tiny: ReadyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "open", lambda *_: 1 // 0)
    done = run("worker", "--runtime-dir", str(runtime), "--device", "CPU", "--model-dir", str(tiny.folder))
    assert done.returncode == 70
    assert "unexpected error in the worker; please report it" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_second_worker_says_who_owns_the_device(service: Service, run: Run) -> None:
    done = run("worker", **service.settings)
    assert done.returncode == 73
    assert f"pid {service.status().worker.pid}" in done.stderr


def test_without_a_ready_model_serve_says_how_to_get_one(runtime: Path, tmp_path: Path, run: Run) -> None:
    done = run(
        "serve",
        "--port=0",
        OPENVINO_RERANKER_RUNTIME_DIR=str(runtime),
        OPENVINO_RERANKER_CACHE=str(tmp_path),
        OPENVINO_RERANKER_DEVICE="CPU",
    )
    assert done.returncode == 78
    assert "openvino-reranker pull" in done.stderr


def test_components_are_started_again_at_once_and_die_with_serve(runtime: Path, tiny: ReadyModel) -> None:
    with QuickService(runtime, tiny.folder) as service:
        body = {"query": "q", "documents": ["d"]}
        for name in ("broker", "worker", "http"):
            pid = pids_when_ready(service)[name]
            time.sleep(0.2)  # it has settled
            os.kill(pid, signal.SIGKILL)
            assert pids_when_ready(service, gone=pid)[name] != pid
            assert service.post(body).status_code == 200
        # A worker that was stopped still owns the device: it must go before another can have it.
        pid = pids_when_ready(service)["worker"]
        os.kill(pid, signal.SIGSTOP)
        service.wait_for_line(f"the worker (pid {pid}) has not reported for too long; killing it")
        assert pids_when_ready(service, gone=pid)["worker"] != pid
        assert service.post(body).status_code == 200
        assert not [line for line in service.lines if "restarting it in" in line]  # no pause
        # And all of them end with it, however it ends
        pids = pids_when_ready(service).values()
        service.process.kill()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_service_that_was_stopped_as_a_whole_goes_on_with_the_same_processes(runtime: Path, tiny: ReadyModel) -> None:
    """As when its container is paused: whoever wakes first has heard nothing from the others for long."""
    with QuickService(runtime, tiny.folder) as service:
        before = pids_when_ready(service)
        everybody = [service.process.pid, *before.values()]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3.5)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.1)
        time.sleep(1.5)  # whoever is judged too early is judged by now
        assert pids_when_ready(service) == before
        assert service.post({"query": "q", "documents": ["d"]}).status_code == 200


def test_after_a_kill_of_serve_nobody_waits_for_a_worker_that_left(runtime: Path, tiny: ReadyModel) -> None:
    def ask(number: int) -> tuple[int, str, float]:
        documents = [f"{number} {place} " + "word " * 200 for place in range(300)]
        answer = service.post({"query": f"question {number}", "documents": documents})
        return answer.status_code, answer.text, time.monotonic()

    with Service(runtime, tiny.folder) as service, ThreadPoolExecutor(8) as pool:
        pids = pids_when_ready(service).values()
        answers = [pool.submit(ask, number) for number in range(8)]
        while service.status().queue.requests < 8:
            assert not any(answer.done() for answer in answers)
        service.process.kill()
        killed = time.monotonic()
        given_up = [answer.result() for answer in answers if answer.result()[0] != 200]
        assert given_up
        for status, text, answered in given_up:
            assert (status, "the service was stopped" in text) == (503, True), text
            assert answered - killed < 4
        while any(is_alive(pid) for pid in pids):
            assert time.monotonic() - killed < 6
            time.sleep(0.05)


def pids_when_ready(service: Service, gone: int | None = None) -> dict[str, int]:
    """The pids of the three components as soon as all are there and ``gone`` is not among them."""
    deadline = time.monotonic() + 30
    while True:
        try:
            status = service.status()
            pids = {"broker": status.pid, "worker": status.worker.pid, "http": status.peers["http_front"][-1]}
            if status.ready and gone not in pids.values():
                return {name: pid for name, pid in pids.items() if pid is not None}
        except (Unavailable, DeadlineExceeded, KeyError):
            pass
        assert time.monotonic() < deadline, service.output
        time.sleep(0.02)


def test_ctrl_c_during_the_imports_is_quiet(tmp_path: Path) -> None:
    # Given a module of the program's that is interrupted while it is imported
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'openvino_reranker.cli.serve':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    done = run_program("serve", PYTHONPATH=f"{tmp_path}:{ROOT / '.links'}")
    assert (done.returncode, done.stderr) == (130, "")
