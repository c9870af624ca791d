"""The real worker process on stand-in A: the whole path, and every way the proof can fail."""

import contextlib
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from openvino_reranker.client.sync import Reranker
from openvino_reranker.npu_worker.errors import PERMANENT
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.npu.busy_monitor import MAX_BATCHES_WITHOUT_RISE
from openvino_reranker.protocol.errors import RerankError
from openvino_reranker.tests.npu_worker.conftest import BENT, Service, until
from openvino_reranker.tests.npu_worker.model.tiny_bert import write_folder
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

PASSAGES = ["berlin had a population of three million", "a cat sat on the mat", "people live in berlin " * 30]


def details(reranker: Reranker) -> dict[str, Any]:
    return reranker.status().worker.details


#: No text is asked about twice, since the broker keeps scores.
NUMBER = itertools.count()


def ask(reranker: Reranker, timeout: float = 20) -> int | None:
    passages = [f"{next(NUMBER)} {passage}" for passage in PASSAGES]
    return reranker.rerank("how many people live in berlin", passages, timeout=timeout).npu_busy_delta_us


def test_the_whole_path(service: Service) -> None:
    # Given a worker that compiles its buckets for the first time
    service.tree.tick()
    service.start_broker()
    worker = service.start_worker()
    reranker = service.reranker()
    # When it is asked, also for a pair whose bucket may not be there yet
    first = reranker.rerank("how many people live in berlin", PASSAGES, timeout=20)
    # Then every answer carries what the counter rose by, and the status page says how it stands
    assert first.device == "NPU"
    assert (first.npu_busy_delta_us or 0) > 0
    until(lambda: details(reranker)["compile"] == "done", "compiled", service.log)
    shown = details(reranker)
    assert {each["state"] for each in shown["buckets"].values()} == {"ready"}
    assert shown["npu"]["options"]["NPU_COMPILER_TYPE"] == "DRIVER"
    until(lambda: details(reranker)["npu_busy_us"] > 0, "told")
    assert 0 < details(reranker)["npu_occupied_share"] <= 1
    assert reranker.status().counters["npu_busy_us"] > 0
    again = reranker.rerank("how many people live in berlin", PASSAGES, timeout=20)
    assert [hit.score for hit in again.hits] == [hit.score for hit in first.hits]
    # And it stops when it is told to
    worker.terminate()
    assert worker.wait(15) == 0, service.log()
    assert "compiled, self-test passed" in service.log()
    assert "from the cache" not in service.log()

    # Given one damaged bucket: zeroed bytes, which OpenVINO would import without a word
    [blob] = service.cache.glob("*-32-*.blob")
    content = bytearray(blob.read_bytes())
    place = next(each for each in range(len(content) // 2, len(content)) if content[each])
    content[place : place + 64] = bytes(64)
    blob.write_bytes(content)
    # When the worker starts again
    service.start_worker()
    until(lambda: service.log().count("all buckets are ready") == 2, "ready", service.log)
    # Then that one is compiled again, and the other comes from the cache
    log = service.log().split("loading")[-1]
    assert "discarded the compiled bucket of 32 tokens: its sha256" in log
    assert "bucket of 32 tokens compiled" in log
    assert "bucket of 64 tokens from the cache" in log
    until(lambda: reranker.status().ready, "ready")
    assert (ask(reranker) or 0) > 0
    reranker.close()


@pytest.mark.parametrize(
    ("counter", "status", "says"),
    [
        ("1000\n", 76, "stayed at 1000 us during the self-test"),
        ("n/a\n", 76, "cannot be read as a number"),
        (None, 76, "kernel 6.11"),
    ],
    ids=["still", "not a number", "none"],
)
def test_a_counter_that_proves_nothing(warm: Service, counter: str | None, status: int, says: str) -> None:
    if counter is None:
        warm.tree.counter.unlink()
    else:
        warm.tree.counter.write_text(counter)
    found, line = warm.wait(warm.start_worker())
    assert (found, says in line) == (status, True), line
    assert found in PERMANENT


def test_a_counter_of_another_driver(warm: Service) -> None:
    warm.tree.bind(warm.tree.device, "amdxdna")
    status, line = warm.wait(warm.start_worker())
    assert (status, "accel0 (amdxdna)" in line) == (69, True), line


def test_a_device_file_that_is_missing(warm: Service) -> None:
    (warm.tree.dev / "accel" / "accel0").unlink()
    status, line = warm.wait(warm.start_worker())
    assert (status, "is it hidden by a container?" in line) == (69, True), line


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("zeros", "0.000, 0.000, 0.000, 0.000] instead of"),
        ("nan", "not all are finite"),
        ("off", "off, at most 0.1 is allowed"),
    ],
)
def test_a_device_that_computes_wrongly(service: Service, how: str, says: str) -> None:
    service.tree.tick()
    status, line = service.wait(service.start_worker(platform={"compiler": [sys.executable, str(BENT), how]}))
    assert (status, says in line) == (76, True), line


def test_the_message_of_the_compiler_decides(service: Service) -> None:
    said = "error:VCL compiler loading failed, aborting."
    status, line = service.wait(service.start_worker(platform={"compiler": [sys.executable, str(BENT), said]}))
    assert (status, "intel-driver-compiler-npu" in line) == (69, True), line


def test_a_compiler_that_aborts_leaves_the_other_buckets(service: Service) -> None:
    # Given a compiler that aborts for one bucket
    service.tree.tick()
    service.start_broker()
    service.start_worker(platform={"compiler": [sys.executable, str(BENT), "abort-32"]})
    reranker = service.reranker()
    # Then its pairs run in the next larger one, and the status page says what happened
    assert (ask(reranker) or 0) > 0
    until(lambda: details(reranker)["compile"] == "done", "compiled", service.log)
    assert details(reranker)["buckets"]["32"] == {
        "state": "given up",
        "why": "the compiler's process was killed by SIGABRT",
    }
    assert len(list(service.cache.glob("*-32-*.poisoned"))) == 1
    reranker.close()


def test_without_the_longest_bucket_texts_are_cut_to_the_next_one(service: Service, tmp_path: Path) -> None:
    # Given a model of 128 tokens whose longest bucket does not compile
    service.model = pull(tmp_path / "cache", str(write_folder(tmp_path / "longer", max_length=128)), "fp16", print)
    service.tree.tick()
    service.start_broker()
    service.start_worker(buckets=[64, 128], platform={"compiler": [sys.executable, str(BENT), "abort-128"]})
    reranker = service.reranker()
    # Then the service says what it can take, and of each text whether it was cut
    assert reranker.status().worker.max_length == 64
    assert details(reranker)["buckets"]["128"]["state"] == "given up"
    passages = ["berlin " * words for words in (40, 100)]
    hits = reranker.rerank("people live", passages, timeout=20, max_windows=1).hits
    assert {hit.index: hit.truncated for hit in hits} == {0: False, 1: True}
    reranker.close()


def test_a_compiler_that_always_aborts_is_a_persons_affair(service: Service) -> None:
    service.tree.tick()
    platform = {"compiler": [sys.executable, str(BENT), "abort"]}
    for _ in range(2):
        status, line = service.wait(service.start_worker(platform=platform))
        assert (status, "SIGABRT" in line) == (65, True), line
    status, line = service.wait(service.start_worker())  # even with a compiler that works: not tried any more
    assert (status, "failed fatally 2 times" in line) == (65, True), line


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (SysfsTree.freeze, "over 8 batches"),
        (lambda tree: tree.freeze() or tree.counter.unlink(), "can no longer be read"),
        (lambda tree: tree.freeze() or tree.set("n/a"), "can no longer be read"),
        (lambda tree: tree.bind(tree.device, "vfio-pci"), "has vfio-pci now"),
    ],
    ids=["freezes", "vanishes", "unreadable", "another driver"],
)
def test_in_service_it_fails_closed_when_the_counter(warm: Service, happens: Any, says: str) -> None:
    # Given a worker at work
    warm.tree.tick()
    warm.start_broker()
    worker = warm.start_worker()
    reranker = warm.reranker()
    assert (ask(reranker) or 0) > 0
    until(lambda: details(reranker)["compile"] == "done", "all buckets ready", warm.log)
    # When the counter proves nothing any more
    happens(warm.tree)
    # Then the worker stops serving within so many batches, says so, and may be started again
    answered = 0
    with contextlib.suppress(RerankError):
        for answered in range(20):  # noqa: B007
            ask(reranker, timeout=1)
    assert answered <= MAX_BATCHES_WITHOUT_RISE
    status, _ = warm.wait(worker)
    assert status == 75
    assert status not in PERMANENT
    assert says in warm.log()
    reranker.close()


def test_in_service_a_counter_that_jumps_back_is_a_reload(warm: Service) -> None:
    warm.tree.tick()
    warm.start_broker()
    warm.start_worker()
    reranker = warm.reranker()
    ask(reranker)
    warm.tree.freeze()
    warm.tree.set(7)
    warm.tree.tick()
    for _ in range(MAX_BATCHES_WITHOUT_RISE + 2):
        assert (ask(reranker) or 0) > 0
    assert "jumped back" in warm.log()
    until(lambda: details(reranker)["npu_counter_resets"] == 1, "told")
    reranker.close()
