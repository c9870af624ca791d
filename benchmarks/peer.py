"""One peer in a process and an environment of its own: reads commands on standard input, answers on standard output.

Runs in foreign environments, so it imports nothing of ours at the top, and each peer's packages only when it is made.
A command is a JSON line: ``{"callers": 8, "requests": [[query, [document, ...]], ...]}`` is answered with
``{"seconds", "took_ms": [...], "scores": [[...], ...]}``, and ``{"memory": true}`` with ``{"peak_mb"}``.

The callers are threads, which take turns at a lock where the peer runs in this process: two of the peers refuse to be
called by two threads at once, none puts the requests of several callers into one batch, and with more threads than
cores they would only be in each other's way.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

#: Ask a peer once: a query and its documents; the scores come back in the documents' order.
Ask = Callable[[str, list[str]], Sequence[float]]


def sentence_transformers(folder: str, backend: str) -> Ask:
    """CrossEncoder with its defaults: pairs sorted by length, 32 in a batch."""
    import torch
    from sentence_transformers import CrossEncoder

    openvino = {"file_name": "openvino_model.xml"} if backend == "openvino" else {}
    model = CrossEncoder(
        folder,
        backend=backend,
        device="cpu",
        max_length=512,
        activation_fn=torch.nn.Identity(),
        local_files_only=True,
        model_kwargs=openvino,
    )
    return lambda query, documents: model.predict([(query, document) for document in documents]).tolist()


def openvino_genai(folder: str) -> Ask:
    """TextRerankPipeline: the whole list is one padded batch."""
    import openvino_genai

    config = openvino_genai.TextRerankPipeline.Config()
    config.top_n = 1000
    config.max_length = 512
    pipeline = openvino_genai.TextRerankPipeline(folder, "CPU", config)
    return lambda query, documents: _in_order(pipeline.rerank(query, documents))


def flashrank(folder: str) -> Ask:
    """FlashRank: the whole list is one padded batch."""
    from flashrank import Ranker, RerankRequest

    ranker = Ranker(model_name="ms-marco-MiniLM-L-12-v2", cache_dir=folder, max_length=512)

    def ask(query: str, documents: list[str]) -> list[float]:
        passages = [{"id": place, "text": document} for place, document in enumerate(documents)]
        return _in_order((found["id"], found["score"]) for found in ranker.rerank(RerankRequest(query, passages)))

    return ask


def fastembed(folder: str) -> Ask:
    """Its TextCrossEncoder with a model of one's own: 64 pairs a batch, in the order of the list."""
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    TextCrossEncoder.add_custom_model(
        model="local/reranker", sources=ModelSource(hf="local/reranker"), model_file="onnx/model.onnx"
    )
    encoder = TextCrossEncoder("local/reranker", specific_model_path=folder, local_files_only=True)
    return lambda query, documents: list(encoder.rerank(query, documents, batch_size=64))


def service(url: str) -> Ask:
    """This project's service, over HTTP."""
    from openvino_reranker.client import HttpReranker

    reranker = HttpReranker(url)
    return lambda query, documents: _in_order(
        (hit.index, hit.score) for hit in reranker.rerank(query, documents, timeout=600).hits
    )


def _in_order(places: object) -> list[float]:
    """Return the scores of (index, score) pairs by index."""
    return [score for _, score in sorted(places)]  # type: ignore[call-overload]


PEERS = {
    "sentence-transformers": sentence_transformers,
    "openvino-genai": openvino_genai,
    "flashrank": flashrank,
    "fastembed": fastembed,
    "service": service,
}


def run(ask: Ask, callers: int, requests: list[tuple[str, list[str]]], lock: object) -> dict[str, object]:
    """Let callers send the requests, each its next one as soon as it has an answer."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(requests)):
        waiting.put(number)
    took = [0.0] * len(requests)
    scores: list[list[float]] = [[] for _ in requests]
    trouble: list[BaseException] = []

    def call() -> None:
        while not trouble:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            started = time.perf_counter()
            try:
                with lock:  # type: ignore[attr-defined]
                    scores[number] = [float(score) for score in ask(*requests[number])]
            except BaseException as error:
                trouble.append(error)
            took[number] = (time.perf_counter() - started) * 1000

    threads = [threading.Thread(target=call) for _ in range(callers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if trouble:
        raise trouble[0]
    return {"seconds": seconds, "took_ms": took, "scores": scores}


def peak_mb(pid: int | str = "self") -> float:
    """Return the most memory a process ever had resident, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 1)


def main() -> None:
    """Make the peer that the arguments name and answer commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    name, *arguments = sys.argv[1:]
    started = time.perf_counter()
    ask = PEERS[name](*arguments)  # type: ignore[operator]
    ask("is it warm?", ["It is.", "It is not, or not yet."])
    lock = contextlib.nullcontext() if name == "service" else threading.Lock()
    print(json.dumps({"ready_s": time.perf_counter() - started}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer = {"peak_mb": peak_mb()} if "memory" in command else run(ask, lock=lock, **command)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
