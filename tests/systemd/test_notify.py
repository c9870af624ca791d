"""What the service manager hears: READY when it is true, WATCHDOG while there is progress, STOPPING, and an end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.client import Reranker, RerankError
from openvino_reranker.daemon.heartbeat import STATUS_EVERY_S, Heartbeat
from openvino_reranker.daemon.notify import Notifier
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import Program, Run, clean_environment
from openvino_reranker.tests.systemd.manager import NotifySocket, unix_listener
from openvino_reranker.tests.systemd.tiny_worker import TinyWorker

HANGING_WORKER = Path(__file__).with_name("hanging_worker.py")


def test_notifier_speaks_over_paths_and_abstract_names(any_notify_socket: NotifySocket) -> None:
    environ = any_notify_socket.environment(2.0) | {"WATCHDOG_PID": str(os.getpid()), "KEPT": "1"}
    notifier = Notifier.from_environment(environ)
    assert environ == {"KEPT": "1"}  # no child shall speak in our name
    assert notifier.watchdog_s == 2.0
    notifier.ready("all\nwell")
    notifier.watchdog()
    notifier.stopping("bye")
    any_notify_socket.wait_for("bye")
    assert any_notify_socket.said == ["READY=1", "STATUS=all well", "WATCHDOG=1", "STOPPING=1", "STATUS=bye"]


def test_without_a_service_manager_nothing_is_said() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000"})
    assert not notifier.connected
    assert notifier.watchdog_s is None
    notifier.ready("nobody hears this")
    with notifier.starting_slowly("nor this", 1.0):
        pass


def test_watchdog_of_another_process_is_not_ours(notify_socket: NotifySocket) -> None:
    environ = notify_socket.environment(2.0) | {"WATCHDOG_PID": "1"}
    assert Notifier.from_environment(environ).watchdog_s is None


def test_service_manager_that_went_away_does_no_harm(runtime: Path) -> None:
    Notifier(str(runtime / "nobody")).ready("nobody hears this")


def test_a_service_manager_that_does_not_read_holds_no_loop_up(runtime: Path) -> None:
    """As when ``serve`` is stopped with Ctrl-Z: a socket's queue holds few messages (net.unix.max_dgram_qlen)."""
    address = str(runtime / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unread:
        unread.bind(address)
        notifier = Notifier(address)
        started = time.monotonic()
        for _ in range(1000):
            notifier.status("busy")
            notifier.watchdog()
        assert time.monotonic() - started < 60, "each that finds the queue full would wait for a second"
        assert unread.recv(100) == b"STATUS=busy"


def test_more_time_is_asked_for_while_it_starts_and_not_for_ever(notify_socket: NotifySocket) -> None:
    notifier = Notifier(notify_socket.address)
    with notifier.starting_slowly("compiling", limit_s=0.25, every_s=0.1):
        while any(thread.name == "openvino-reranker-extend" for thread in threading.enumerate()):
            time.sleep(0.01)  # what hangs is the service manager's to end
        notifier.status("over")
    notify_socket.wait_for("over")
    extensions = ["EXTEND_TIMEOUT_USEC=250000", "EXTEND_TIMEOUT_USEC=150000", "EXTEND_TIMEOUT_USEC=50000"]
    assert notify_socket.said == ["STATUS=compiling", *extensions, "STATUS=over"]


def test_no_more_time_is_asked_for_once_it_is_up(notify_socket: NotifySocket) -> None:
    notifier = Notifier(notify_socket.address)
    with notifier.starting_slowly("compiling", limit_s=900.0):
        notify_socket.wait_for("EXTEND_TIMEOUT_USEC=120000000")
    notifier.ready("up")  # at once: it waits for nobody
    notify_socket.wait_for("READY=1")
    assert len(notify_socket.times("EXTEND_TIMEOUT_USEC=")) == 1


def test_heartbeat_tells_changes_at_most_once_a_second_and_lets_an_idle_loop_sleep(notify_socket: NotifySocket) -> None:
    heartbeat = Heartbeat(Notifier(notify_socket.address))
    now = time.monotonic() + 100
    heartbeat.beat(now, lambda: "one")
    heartbeat.beat(now + 0.1, lambda: "two")  # too soon: told later
    assert heartbeat.next_wakeup() == pytest.approx(now + STATUS_EVERY_S)
    heartbeat.beat(now + STATUS_EVERY_S, lambda: "three")
    assert heartbeat.next_wakeup() is None
    heartbeat.beat(now + 10, lambda: "three")  # nothing new
    notify_socket.wait_for("three")
    assert notify_socket.said == ["STATUS=one", "STATUS=three"]


def test_heartbeat_feeds_the_watchdog_twice_per_limit(notify_socket: NotifySocket) -> None:
    heartbeat = Heartbeat(Notifier(notify_socket.address, watchdog_s=4.0))
    heartbeat.beat(100.0, str)
    assert heartbeat.next_wakeup() == 102.0
    heartbeat.beat(101.0, str)  # not due
    heartbeat.beat(102.0, str)
    assert heartbeat.next_wakeup() == 104.0
    heartbeat.stopping("over")
    notify_socket.wait_for("over")
    assert notify_socket.said.count("WATCHDOG=1") == 2


def test_broker_is_ready_when_it_listens_and_shows_its_queue(runtime: Path, notify_socket: NotifySocket) -> None:
    with Program("broker", "--runtime-dir", str(runtime), **notify_socket.environment(0.2)) as broker:
        notify_socket.wait_for("READY=1")
        with Reranker(runtime / "requests.sock") as reranker:
            asking = threading.Thread(target=ask_in_vain, args=(reranker,))
            asking.start()
            notify_socket.wait_for("1 requests, 3 pairs waiting")
            asking.join()
        notify_socket.wait_for("WATCHDOG=1", count=3)
        assert broker.stop() == 0
    assert notify_socket.said.count("READY=1") == 1
    assert "STOPPING=1" in notify_socket.said


def ask_in_vain(reranker: Reranker) -> None:
    with contextlib.suppress(RerankError):
        reranker.rerank("q", ["a", "bb", "ccc"], timeout=1.1)  # a status is sent once a second


@pytest.mark.parametrize("taken", ["requests.sock", "workers.sock"])
def test_broker_that_cannot_listen_is_never_ready(
    runtime: Path, notify_socket: NotifySocket, run: Run, taken: str
) -> None:
    with unix_listener(runtime / taken):
        done = run("broker", "--runtime-dir", str(runtime), **notify_socket.environment())
        assert done.returncode == 1
        assert f"another broker (pid {os.getpid()}) is listening on {runtime / taken}" in done.stderr
        assert notify_socket.said == []
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(runtime / taken))  # the live socket was not stolen
        assert [path.name for path in runtime.glob("*.sock")] == [taken]  # and the other one not left


def test_broker_replaces_the_socket_of_a_dead_one(runtime: Path, notify_socket: NotifySocket) -> None:
    unix_listener(runtime / "requests.sock").close()  # the file stays
    stale = (runtime / "requests.sock").stat().st_ino
    with Program("broker", "--runtime-dir", str(runtime), **notify_socket.environment()):
        notify_socket.wait_for("READY=1")
        assert (runtime / "requests.sock").stat().st_ino != stale
        with Reranker(runtime / "requests.sock") as reranker:
            assert not reranker.status().ready


def test_broker_stops_within_its_limit_though_a_request_hangs(
    runtime: Path, notify_socket: NotifySocket, start_worker: Callable[..., TinyWorker]
) -> None:
    code = (
        "import pathlib, sys\n"
        "from openvino_reranker.broker.server import BrokerServer\n"
        "from openvino_reranker.daemon.notify import Notifier\n"
        "BrokerServer(pathlib.Path(sys.argv[1]), notifier=Notifier.from_environment(), drain_s=0.5).run()\n"
    )
    environment = clean_environment(**notify_socket.environment())
    broker = subprocess.Popen([sys.executable, "-c", code, str(runtime)], env=environment, stderr=subprocess.DEVNULL)
    notify_socket.wait_for("READY=1")
    start_worker(30.0)
    with Reranker(runtime / "requests.sock") as reranker:
        told: list[str] = []

        def ask() -> None:
            try:
                reranker.rerank("q", ["a"], timeout=60)
            except RerankError as error:
                told.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        notify_socket.wait_for("1 requests")
        started = time.monotonic()
        broker.send_signal(signal.SIGTERM)
        assert broker.wait(10) == 0
        assert time.monotonic() - started > 0.5
        asking.join()
    assert told == ["the service was stopped before this request was done"]
    assert "STOPPING=1" in notify_socket.said


def test_front_is_ready_when_it_listens(runtime: Path, notify_socket: NotifySocket, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("http", "--port", port, "--runtime-dir", str(runtime), **notify_socket.environment())
        assert done.returncode == 1
        assert notify_socket.said == []
    with Program("http", "--port", port, "--runtime-dir", str(runtime), **notify_socket.environment(0.2)) as front:
        notify_socket.wait_for("READY=1")
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert f"127.0.0.1 port {port}" in notify_socket.wait_for("1 so far")
        notify_socket.wait_for("WATCHDOG=1", count=3)
        assert front.stop() == 0
    assert "STOPPING=1" in notify_socket.said


def test_worker_without_a_model_is_never_ready(runtime: Path, notify_socket: NotifySocket, run: Run) -> None:
    settings = {"OPENVINO_RERANKER_MODEL_DIR": str(runtime / "nothing"), "OPENVINO_RERANKER_DEVICE": "CPU"}
    done = run("worker", "--runtime-dir", str(runtime), **settings, **notify_socket.environment())
    assert done.returncode == 78
    assert "READY=1" not in notify_socket.said


def test_worker_is_ready_when_its_model_has_run(runtime: Path, tiny: ReadyModel, notify_socket: NotifySocket) -> None:
    settings = {"OPENVINO_RERANKER_MODEL_DIR": str(tiny.folder), "OPENVINO_RERANKER_DEVICE": "CPU"}
    settings |= notify_socket.environment(3.0)
    with Program("worker", "--runtime-dir", str(runtime), **settings) as worker:
        notify_socket.wait_for("READY=1", timeout=60)
        notify_socket.wait_for("waiting for the broker")
        with Program("broker", "--runtime-dir", str(runtime)), Reranker(runtime / "requests.sock") as reranker:
            wait_for_socket(runtime / "requests.sock")
            assert len(reranker.rerank("q", ["a", "b"], timeout=30).hits) == 2
            shown = notify_socket.wait_for("2 pairs so far")
        assert tiny.card.name in shown
        assert "on CPU (f32)" in shown
        assert "pairs/s" in shown
        assert worker.stop() == 0
    said = notify_socket.said
    ready = said.index("READY=1")
    loading = next(place for place, each in enumerate(said) if each.startswith("STATUS=loading"))
    extended = next(place for place, each in enumerate(said) if each.startswith("EXTEND_TIMEOUT_USEC="))
    assert max(loading, extended) < ready
    assert "STOPPING=1" in said[ready:]


def wait_for_socket(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def hanging_worker(
    runtime: Path, good_runs: int, stuck_s: float, environment: dict[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    arguments = [runtime / "workers.sock", good_runs, stuck_s, 5.0]
    command = [sys.executable, str(HANGING_WORKER), *map(str, arguments)]
    worker = subprocess.Popen(command, env=clean_environment(**environment), stderr=subprocess.DEVNULL)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_whose_device_hangs_says_so_and_ends_itself(runtime: Path, notify_socket: NotifySocket) -> None:
    with (
        Program("broker", "--runtime-dir", str(runtime)),
        hanging_worker(runtime, 1, 1.5, notify_socket.environment(0.4)) as worker,
    ):
        notify_socket.wait_for("READY=1")
        wait_for_socket(runtime / "requests.sock")
        with Reranker(runtime / "requests.sock") as reranker:
            assert len(reranker.rerank("q", ["a"], timeout=10).hits) == 1
            fed = len(notify_socket.times("WATCHDOG=1"))
            ask_in_vain(reranker)
            notify_socket.wait_for("the CPU has finished nothing for")
            assert worker.wait(20) == 75
            # Its loop ran until then, and fed the watchdog: ending itself does not wait for that.
            assert len(notify_socket.times("WATCHDOG=1")) > fed


def test_a_hanging_worker_hears_sigterm_and_does_not_wait_for_the_device(
    runtime: Path, notify_socket: NotifySocket
) -> None:
    with (
        Program("broker", "--runtime-dir", str(runtime)),
        hanging_worker(runtime, 0, 60.0, notify_socket.environment(0.4)) as worker,
    ):
        notify_socket.wait_for("READY=1")
        wait_for_socket(runtime / "requests.sock")
        with Reranker(runtime / "requests.sock") as reranker:
            ask_in_vain(reranker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0
    assert "STOPPING=1" in notify_socket.said
