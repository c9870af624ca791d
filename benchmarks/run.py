"""Measure the service and its peers: ``make benchmarks``, or ``python -m openvino_reranker.benchmarks.run``.

All peers are started and warmed up, then each answers the same requests, one peer after the other, in several turns:
a machine's speed drifts, and only what ran side by side compares. No pair is asked twice, so that no cache answers.
"""

import argparse
import contextlib
import datetime
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..bench.judged import DEPTH, JudgedQuery, by_score, quality, read_judged
from ..bench.report import percentile
from ..client.ranking import sigmoid
from .environments import CACHE, HERE, python_of, versions
from .machine import describe
from .models import export
from .processes import Peer, Service
from .report import chart, table
from .workload import LOADS, SAMPLE, Texts

#: What is written down of each peer's environment.
_PACKAGES = (
    "fastembed", "flashrank", "onnxruntime", "openvino", "openvino-genai", "optimum-intel", "sentence-transformers",
    "torch", "transformers",
)  # fmt: skip

_QUESTION = "How many people live in Berlin?"
_PASSAGES = (
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
)


def main() -> int:
    """Run all of it and write ``results.json``, ``results.md`` and ``results.svg``."""
    parser = argparse.ArgumentParser(description="The rerank service beside its peers, on this machine.")
    parser.add_argument(
        "--turns", type=int, default=3, metavar="N", help="how often each peer has its turn (default 3)"
    )
    parser.add_argument("--quick", action="store_true", help="one short turn: whether it works, not how fast it is")
    parser.add_argument("--out", type=Path, default=HERE / "results", metavar="DIR", help="where to write")
    arguments = parser.parse_args()
    with (SAMPLE / "judged.jsonl").open("rb") as file:
        judged = read_judged(file)
    turns, loads = arguments.turns, list(LOADS)
    if arguments.quick:
        turns, loads = 1, [replace(load, passages=4, requests=2) for load in LOADS]
        judged = judged[::24]

    transformers = python_of("sentence-transformers")
    models = export(CACHE, transformers)
    with Service() as service, contextlib.ExitStack() as running:
        peers = [
            Peer("openvino-reranker, over HTTP", Path(sys.executable), "service", service.url),
            *_peers(transformers, models),
        ]
        for peer in peers:
            running.callback(peer.close)
            _check(peer)
        texts = Texts(seed=1)
        steps = (1 + turns) * len(loads) * len(peers) + len(peers)
        with tqdm(total=steps, unit="step", disable=None) as bar:
            for load in loads:  # warm: what is compiled or allocated for a length is, before anything counts
                warm = texts.requests(replace(load, requests=min(load.callers, load.requests)))
                for peer in peers:
                    peer.ask(load.callers, warm)
                    bar.update()
            for turn in range(turns):
                for load in loads:
                    requests = texts.requests(load)
                    for place in range(len(peers)):
                        peers[(place + turn) % len(peers)].run(load, requests)
                        bar.update()
            rows = []
            for place, peer in enumerate(peers):
                rows.append(_row(peer, judged, service if place == 0 else None))
                bar.update()
        status = service.status()
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": describe(),
        "service": {key: status[key] for key in ("model", "device", "precision") if key in status},
        "turns": turns,
        "loads": [asdict(load) for load in loads],
        "peers": rows,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    (arguments.out / "results.md").write_text(table(result))
    (arguments.out / "results.svg").write_text(chart(result))
    print(table(result))
    return 0


def _check(peer: Peer) -> None:
    """Check that a peer has the model that it should: an export can go wrong in silence.

    Raises:
        RuntimeError: Its relevance of two passages is not the model's, 0.9999 and 0.019.
    """
    scores = peer.ask(1, [(_QUESTION, list(_PASSAGES))])["scores"][0]
    good, bad = scores if all(0 <= score <= 1 for score in scores) else map(sigmoid, scores)
    if not (good > 0.99 and bad < 0.05):
        raise RuntimeError(f"{peer.name} gives {scores} where the model gives 9.085 and -3.934: not the same model")


def _peers(transformers: Path, models: Any) -> list[Peer]:
    return [
        Peer("sentence-transformers, torch", transformers, "sentence-transformers", str(models.hugging_face), "torch"),
        Peer(
            "sentence-transformers, OpenVINO", transformers, "sentence-transformers", str(models.openvino), "openvino"
        ),
        Peer("openvino-genai", python_of("openvino-genai"), "openvino-genai", str(models.openvino)),
        Peer("FlashRank, int8", python_of("flashrank"), "flashrank", str(models.flashrank)),
        Peer("fastembed, fp32", python_of("fastembed"), "fastembed", str(models.fastembed)),
    ]


def _row(peer: Peer, judged: list[JudgedQuery], service: Service | None) -> dict[str, Any]:
    """Return what is written down of a peer, after it has ranked the judged sample."""
    scores = peer.ask(1, [(query.query, list(query.texts)) for query in judged])["scores"]
    ranked = quality(judged, [by_score(query, given) for query, given in zip(judged, scores, strict=True)])
    return {
        "name": peer.name,
        "packages": {name: found for name, found in versions(peer.python).items() if name in _PACKAGES},
        "ready_s": round(peer.ready_s, 1),
        "peak_mb": (service or peer).peak_mb(),
        f"ndcg@{DEPTH}": round(ranked.ndcg, 4),
        "loads": {
            name: {
                "pairs_per_s": round(measured.pairs / measured.seconds, 1),
                "p50_ms": round(percentile(measured.took_ms, 0.5)),
                "p95_ms": round(percentile(measured.took_ms, 0.95)),
            }
            for name, measured in peer.measured.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
