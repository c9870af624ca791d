"""Memory stays flat over many requests; with ``-m slow`` over as many as an hour of lively use brings."""

import contextlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openvino_reranker.bench.report import rss_mb
from openvino_reranker.client import DeadlineExceeded, Reranker
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.tests.npu_worker.model.tiny_bert import write_folder
from openvino_reranker.tests.processes import Service


@pytest.fixture
def tiny_service(runtime: Path, tmp_path: Path) -> Iterator[Service]:
    """A service with a model so small that the queue, not the model, is what works."""
    ready = pull(tmp_path / "cache", str(write_folder(tmp_path / "tiny")), "fp16", print)
    with Service(runtime, ready.folder) as service:
        yield service


def load(service: Service, requests: int, seed: int) -> None:
    """Mixed load: sizes, callers that give up, wrong requests, both doors."""
    chance = random.Random(seed)
    words = ["berlin", "people", "population", "live", *(str(number) for number in range(50))]

    def text(most: int = 30) -> str:
        return " ".join(chance.choices(words, k=chance.randint(1, most)))

    with Reranker(service.socket) as reranker, httpx.Client(base_url=service.url, timeout=30) as http:

        def one(number: int) -> None:
            documents = [text() for _ in range(chance.choice((1, 5, 20, 60)))]
            if number % 50 == 0:
                http.post("/rerank", json={"query": "", "documents": documents})
            elif number % 33 == 0:
                with contextlib.suppress(DeadlineExceeded):
                    reranker.rerank(text(5), documents * 10, timeout=0.002)
            elif number % 3 == 0:
                assert http.post("/rerank", json={"query": text(5), "documents": documents}).status_code == 200
            else:
                assert len(reranker.rerank(text(5), documents).hits) == len(documents)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(requests)))


#: 6,000 requests are one every 0.6 s for an hour.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("requests", [1000, pytest.param(6000, marks=pytest.mark.slow)])
def test_no_process_grows(tiny_service: Service, requests: int) -> None:
    pids: dict[str, int | None] = httpx.get(tiny_service.url + "/readyz").json()["pids"]
    load(tiny_service, requests // 2, seed=1)  # caches, kernels and allocators fill
    before = rss_mb(pids)
    load(tiny_service, requests, seed=2)
    after = rss_mb(pids)
    assert set(before) == {"broker", "worker", "http"}
    for name, megabytes in before.items():
        assert after[name] < megabytes * 1.08 + 4, (name, before, after)
    status = tiny_service.status()
    assert (status.queue.requests, status.queue.pairs, status.queue.bytes) == (0, 0, 0)
    assert os.getpid() not in pids.values()
