"""The process that compiles one bucket, so that a compiler that aborts ends nothing else.

Reads an ``Order`` from standard input, writes the compiled model into a file and an ``Outcome`` to what standard
output was at the start: the NPU's plugin, driver and compiler write their messages to standard output.
"""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import openvino as ov

from ...daemon.parent_death import die_with_parent
from .host_embeddings import cut_embeddings, make_static


class Order(msgspec.Struct, frozen=True):
    """What to compile, and where to put it. ``parent`` is the process that waits for it."""

    model: str
    tokens: int
    options: dict[str, str]
    output: str
    parent: int


class Outcome(msgspec.Struct, frozen=True):
    """The outcome: how long it took, s; ``error`` if it failed; ``not_exported`` if only the export did."""

    seconds: float
    error: str = ""
    not_exported: str = ""


def compile_order(order: Order) -> Outcome:
    """Compile and export one bucket."""
    began = time.monotonic()
    core = ov.Core()
    try:
        model = core.read_model(order.model)
        cut_embeddings(model)
        make_static(model, order.tokens)
        compiled = core.compile_model(model, "NPU", order.options)
    except RuntimeError as error:
        return Outcome(time.monotonic() - began, error=str(error) or "OpenVINO gave no reason")
    seconds = time.monotonic() - began
    try:
        exported = compiled.export_model()
        content = exported if isinstance(exported, bytes) else exported.getbuffer()
        Path(order.output).write_bytes(content)
    except (RuntimeError, OSError) as error:
        return Outcome(seconds, not_exported=str(error) or "OpenVINO gave no reason")
    return Outcome(seconds)


def main() -> None:
    """Do what standard input says."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    die_with_parent(order.parent, signal.SIGKILL)
    outcome = compile_order(order)
    with open(answers, "wb") as answer:  # noqa: PTH123  (a descriptor)
        answer.write(msgspec.json.encode(outcome))
    # All is said. Level Zero is known to crash while it is unloaded, which must not look like a compiler that crashed.
    os._exit(0)


if __name__ == "__main__":
    main()
