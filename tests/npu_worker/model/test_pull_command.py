"""``openvino-reranker pull`` as its own process: against a hub, without one, interrupted, and twice at once."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model import hub as hub_module
from openvino_reranker.npu_worker.model.sources import PackagedSource
from openvino_reranker.npu_worker.model.store import ReadyModel, find_ready, folder_of, load, make_ready
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.npu_worker.model.conftest import Command, Score
from openvino_reranker.tests.npu_worker.model.hub_server import COMMIT, HubServer
from openvino_reranker.tests.processes import with_constants

TINY = "tests/tiny-reranker"
#: The index of a machine that has none.
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}


def ended(process: "subprocess.Popen[str]", timeout: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def files_in(cache: Path) -> list[Path]:
    return [path for path in (cache / "models").rglob("*") if path.is_file()]


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(params=["silent", "dripping"])
def black_hole(request: pytest.FixtureRequest) -> Iterator[str]:
    """A host that takes a connection and says nothing, or a letter now and then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()
        taken: list[socket.socket] = []

        def serve() -> None:
            while not done.is_set():
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return
                if request.param == "dripping":
                    threading.Thread(target=drip, args=(taken[-1],), daemon=True).start()

        def drip(connection: socket.socket) -> None:
            try:
                for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 1000:
                    connection.send(bytes([letter]))
                    if done.wait(0.3):
                        return
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        done.set()
        for connection in taken:
            connection.close()


def test_a_model_of_the_hub(hub: HubServer, command: Command, cache: Path, score: Score) -> None:
    status, out, err = ended(command(TINY, endpoint=hub.url))
    assert status == 0, err
    folder = find_ready(cache, TINY, ["fp16"])
    assert folder is not None
    ready = load(folder)
    assert out.split() == [TINY, "fp16", "0", "MB", str(folder)]
    assert (ready.card.name, ready.card.source, ready.card.revision) == (TINY, TINY, COMMIT)
    assert (ready.card.licence, ready.card.how) == ("apache-2.0", "built")
    expected = tiny_bert.reference_logit(tiny_bert.make_weights())
    assert score(ready, tiny_bert.QUERY, tiny_bert.PASSAGE) == pytest.approx(expected, abs=0.02)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["fp16"]

    # Once ready, the hub is not asked again.
    before = len(hub.requests)
    status, _, err = ended(command(TINY, endpoint=hub.url))
    assert (status, len(hub.requests)) == (0, before)
    assert "ready already" in err


def test_only_needed_files_are_downloaded(hub: HubServer, folder: Path, command: Command) -> None:
    (folder / "README.md").write_text("# big")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert ended(command(TINY, endpoint=hub.url))[0] == 0
    fetched = {request.rsplit("/", 1)[1] for request in hub.requests if request.startswith("GET /tests")}
    assert fetched == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}


def test_a_revision_is_another_model(hub: HubServer, command: Command, cache: Path) -> None:
    assert ended(command(f"{TINY}@{COMMIT}", endpoint=hub.url))[0] == 0
    assert find_ready(cache, f"{TINY}@{COMMIT}", ["fp16"])
    assert find_ready(cache, TINY, ["fp16"]) is None


@pytest.mark.parametrize(
    ("model", "trouble", "message"),
    [
        ("tests/other", "", "has no model tests/other"),
        (f"{TINY}@nowhere", "", "no revision 'nowhere'"),
        (TINY, "gated", "accept its terms"),
        (TINY, "damaged", "arrived damaged"),
        (TINY, "no tokenizer", "has no tokenizer.json on the hub"),
        (TINY, "no safetensors", "can run code"),
        (TINY, "has failed", "has failed (HTTP 503)"),
    ],
)
def test_what_the_hub_can_answer(
    hub: HubServer, folder: Path, command: Command, cache: Path, model: str, trouble: str, message: str
) -> None:
    hub.gated = trouble == "gated"
    hub.damaged = trouble == "damaged"
    hub.status = 503 if trouble == "has failed" else 0
    if trouble == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    if trouble == "no safetensors":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    status, out, err = ended(command(model, endpoint=hub.url))
    assert (status, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert files_in(cache) == []


def test_a_named_model_is_not_replaced_by_another(command: Command, closed_port: str, cache: Path) -> None:
    status, _, err = ended(command(TINY, endpoint=closed_port), timeout=10)
    assert status == 1
    assert [closed_port in line for line in err.splitlines()] == [True]
    assert files_in(cache) == []


def test_a_hub_that_says_nothing_is_given_up_in_time(command: Command, black_hole: str) -> None:
    assert hub_module.ANSWER_S < 10
    started = time.monotonic()
    status, _, err = ended(command(TINY, endpoint=black_hole, **with_constants("npu_worker.model.hub", ANSWER_S=2.0)))
    assert time.monotonic() - started < 2 + 5  # to start Python on a busy machine
    assert status == 1
    assert black_hole in err


def test_a_named_model_is_pulled_whatever_folder_is_served(hub: HubServer, command: Command, tmp_path: Path) -> None:
    served = {"OPENVINO_RERANKER_MODEL_DIR": str(tmp_path / "served")}
    status, out, err = ended(command(TINY, endpoint=hub.url, **served))
    assert (status, out.split()[0]) == (0, TINY)
    assert f"still {tmp_path / 'served'}" in err
    # With no model named there is nothing to do, and that is said.
    status, out, err = ended(command(endpoint=hub.url, **served))
    assert (status, out) == (0, "")
    assert "nothing to pull" in err


def test_offline_means_offline(command: Command, hub: HubServer) -> None:
    status, _, err = ended(command(TINY, endpoint=hub.url, HF_HUB_OFFLINE="1"))
    assert (status, hub.requests) == (1, [])
    assert "HF_HUB_OFFLINE" in err


def test_without_a_hub_the_default_is_the_packaged_model(command: Command, closed_port: str, cache: Path) -> None:
    status, _, err = ended(command(endpoint=closed_port, **NO_INDEX))
    unreachable, downloading, failed = err.splitlines()
    assert closed_port in unreachable
    assert "using the packaged model instead" in unreachable
    assert "with pip" in downloading
    assert "pip cannot download" in failed
    assert (status, files_in(cache)) == (1, [])


def test_an_index_that_cannot_be_reached_is_called_so(command: Command, closed_port: str, cache: Path) -> None:
    index = NO_INDEX | {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": closed_port, "PIP_RETRIES": "1"}
    status, _, err = ended(command("packaged", **index))
    assert "cannot reach the package index" in err.splitlines()[-1]
    assert (status, files_in(cache)) == (1, [])


def test_a_packaged_model_that_is_ready_settles_it(command: Command, hub: HubServer, cache: Path) -> None:
    ready = make_ready(folder_of(cache, PackagedSource().key, "fp16"), lambda _: tiny_bert.CARD, print)
    status, out, err = ended(command(endpoint=hub.url))
    assert (status, hub.requests) == (0, [])
    assert str(ready.folder) in out
    assert "openvino-reranker pull cross-encoder/ms-marco-MiniLM-L6-v2" in err


def test_ctrl_c_leaves_nothing(hub: HubServer, command: Command, cache: Path) -> None:
    hub.paused.set()
    process = command(TINY, endpoint=hub.url)
    assert hub.halfway.wait(20)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process, timeout=10)
    assert status == 130
    assert "Traceback" not in err
    assert files_in(cache) == []


def test_a_killed_pull_leaves_nothing_that_looks_ready(hub: HubServer, command: Command, cache: Path) -> None:
    hub.paused.set()
    process = command(TINY, endpoint=hub.url)
    assert hub.halfway.wait(20)
    process.kill()
    process.wait()
    assert find_ready(cache, TINY, ["fp16"]) is None
    assert any(cache.rglob(".fp16.making"))

    hub.paused.clear()
    assert ended(command(TINY, endpoint=hub.url))[0] == 0
    folder = find_ready(cache, TINY, ["fp16"])
    assert folder is not None
    assert load(folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["fp16"]


def test_two_pulls_at_once_do_the_work_once(hub: HubServer, command: Command, cache: Path) -> None:
    hub.paused.set()
    first = command(TINY, endpoint=hub.url)
    assert hub.halfway.wait(20)
    second = command(TINY, endpoint=hub.url)
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    hub.resumed.set()
    assert ended(first)[0] == 0
    assert ended(second)[0] == 0
    assert sum(request.endswith("model.safetensors") for request in hub.requests if request.startswith("GET")) == 1
    assert len(list((cache / "models").iterdir())) == 1


def test_the_packaged_model_is_what_its_card_says(packaged: ReadyModel) -> None:
    card = load(packaged.folder).card
    assert (card.name, card.source) == ("packaged:ms-marco-MiniLM-L-12-v2", "packaged")
    assert (card.layers, card.max_length, card.how, card.licence) == (12, 512, "built", "apache-2.0")
