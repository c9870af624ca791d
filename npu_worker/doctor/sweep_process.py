"""The process that tries one set of options on one row length: compile, check the logits, time it.

Reads a ``SweepOrder`` from standard input and writes ``Measured`` to what standard output was at the start: plugin,
driver and compiler write their messages there. It ends with its parent.
"""

import os
import signal
import sys
import time

import msgspec
import openvino as ov

from ...daemon.parent_death import die_with_parent
from ..npu.compiled_bucket import CompiledBucket
from ..npu.error_messages import innermost
from ..npu.host_embeddings import cut_embeddings, make_static
from ..tokenization import Row
from .timing import measure_rate


class SweepOrder(msgspec.Struct, frozen=True):
    """What to try: options, fixed rows as (ids, types) with their f32 logits, and what to time for ``timed_s`` each."""

    model: str
    tokens: int
    options: dict[str, str]
    rows: list[tuple[list[int], list[int]]]
    expected: list[float]
    in_flight: list[int]
    timed_s: float
    parent: int


class Measured(msgspec.Struct, frozen=True):
    """The result; ``rates`` is rows a second by rows in flight, ``worst`` the largest error of a logit."""

    compile_s: float
    blob_bytes: int | None = None
    worst: float | None = None
    rates: dict[int, float] = {}
    error: str = ""


def measure(order: SweepOrder) -> Measured:
    """Compile, check and time one set of options."""
    began = time.monotonic()
    core = ov.Core()
    compile_s = blob_bytes = worst = None
    rates: dict[int, float] = {}
    try:
        model = core.read_model(order.model)
        table = cut_embeddings(model)
        make_static(model, order.tokens)
        compiled = core.compile_model(model, "NPU", order.options)
        compile_s = time.monotonic() - began
        exported = compiled.export_model()
        blob_bytes = len(exported if isinstance(exported, bytes) else exported.getbuffer())
        bucket = CompiledBucket(order.tokens, compiled, max(order.in_flight), table)
        rows = [Row(ids, types, False) for ids, types in order.rows]
        logits = bucket.infer_on_each(rows)
        worst = max(abs(logit - right) for logit, right in zip(logits, order.expected, strict=True))
        for number in order.in_flight:
            rates[number] = round(measure_rate(bucket, rows[-1], number, order.timed_s), 2)
    except (RuntimeError, ArithmeticError) as error:
        spent = time.monotonic() - began if compile_s is None else compile_s
        return Measured(spent, blob_bytes, worst, rates, innermost(str(error)))
    return Measured(compile_s, blob_bytes, worst, rates)


def main() -> None:
    """Do what standard input says."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=SweepOrder)
    die_with_parent(order.parent, signal.SIGKILL)
    measured = measure(order)
    with open(answers, "wb") as answer:  # noqa: PTH123  (a descriptor)
        answer.write(msgspec.json.encode(measured))
    os._exit(0)  # as the compiling process: what crashes while it is unloaded is of no interest


if __name__ == "__main__":
    main()
