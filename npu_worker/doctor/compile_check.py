"""Compile every bucket for absent NPUs (``python -m openvino_reranker.npu_worker.doctor.compile_check``).

OpenVINO's plugin compiles for a generation by ``NPU_PLATFORM`` where it has its own compiler, which its packages for
Windows bring along. So this file imports nothing that Windows lacks.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from ..model.card import MODEL_FILE, ModelCard
from ..npu.bucket_plan import DEFAULT_BUCKETS, clip
from ..npu.error_messages import innermost
from ..npu.host_embeddings import cut_embeddings, make_static

#: Architectures: Meteor Lake and Arrow Lake, Lunar Lake, Panther Lake.
GENERATIONS = ("3720", "4000", "5010")
#: What the plugin is told beside the generation.
OPTIONS = {"NPU_COMPILER_TYPE": "PLUGIN", "PERFORMANCE_HINT": "THROUGHPUT"}
#: How long one bucket may compile, s.
LIMIT_S = 1200.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outcome of one compilation."""

    model: str
    precision: str
    generation: str
    tokens: int
    seconds: float
    megabytes: float | None = None
    error: str = ""


def check(
    folders: Sequence[Path],
    generations: Sequence[str] = GENERATIONS,
    options: Mapping[str, str] = OPTIONS,
    buckets: Sequence[int] = DEFAULT_BUCKETS,
    limit_s: float = LIMIT_S,
) -> list[Compiled]:
    """Compile each model's buckets for each generation, each in a child process, since a compiler can abort."""
    results = []
    for folder in folders:
        card = ModelCard.read(folder)
        for generation in generations:
            for tokens in clip(buckets, card.max_length):
                began = time.monotonic()
                size, error = _in_child(folder, tokens, {**options, "NPU_PLATFORM": generation}, limit_s)
                seconds = round(time.monotonic() - began, 1)
                megabytes = None if size is None else round(size / 1e6, 2)
                results.append(Compiled(card.name, card.precision, generation, tokens, seconds, megabytes, error))
                print(as_rows(results[-1:])[0], flush=True)
    return results


def as_rows(results: Sequence[Compiled]) -> list[str]:
    """Return a row of a Markdown table for each."""
    return [
        f"| {each.model} | {each.precision} | {each.generation} | {each.tokens} | {each.seconds} | "
        f"{'' if each.megabytes is None else each.megabytes} | {each.error} |"
        for each in results
    ]


def compile_one(model: Path, tokens: int, options: Mapping[str, str]) -> int:
    """Compile one bucket; return the size of the compiled model, bytes."""
    core = ov.Core()
    graph = core.read_model(model)
    cut_embeddings(graph)
    make_static(graph, tokens)
    exported = core.compile_model(graph, "NPU", dict(options)).export_model()
    return len(exported if isinstance(exported, bytes) else exported.getbuffer())


def _in_child(folder: Path, tokens: int, options: Mapping[str, str], limit_s: float) -> tuple[int | None, str]:
    order = json.dumps({"model": str(folder / MODEL_FILE), "tokens": tokens, "options": dict(options)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__ if __spec__ is None else __spec__.name, "--one", order],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"not done after {limit_s:g} s"
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer.get("bytes"), answer.get("error", "")
    return None, f"the compiling process ended with status {done.returncode}"


def main() -> int:
    """Compile and write the results; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description="Compile every row length for NPUs that this machine need not have, and keep times and sizes."
    )
    parser.add_argument("models", nargs="*", type=Path, help="folders of ready models")
    parser.add_argument("--generations", default=",".join(GENERATIONS), help="architectures, comma-separated")
    parser.add_argument("--out", type=Path, default=Path("npu-compile"), help="without ending: .json and .md are added")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        order = json.loads(arguments.one)
        try:
            answer: dict[str, Any] = {"bytes": compile_one(Path(order["model"]), order["tokens"], order["options"])}
        except RuntimeError as error:
            answer = {"error": innermost(str(error))}
        print(json.dumps(answer), flush=True)
        return 0
    results = check(arguments.models, arguments.generations.split(","))
    about = f"OpenVINO {ov.get_version()}"
    head = ["| model | weights | generation | tokens | seconds | MB | error |", "|---|---|---|---|---|---|---|"]
    arguments.out.with_suffix(".md").write_text("\n".join([about, "", *head, *as_rows(results), ""]), encoding="utf-8")
    everything = {"openvino": ov.get_version(), "compiled": [asdict(each) for each in results]}
    arguments.out.with_suffix(".json").write_text(json.dumps(everything, indent=1), encoding="utf-8")
    return 1 if any(each.error for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
