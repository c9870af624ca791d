"""A compiler that makes another model than it is asked for: ``bent_child.py HOW``, else as ``compiler_process``.

``HOW`` is ``zeros``, ``nan``, ``off`` (every logit 0.2 higher; ``off-64``: of 64 tokens), ``slightly-off`` (0.05), or
the way a compiler ends badly: ``abort`` (``abort-64``), ``hang``, ``status``, ``nonsense``, ``not-exported``,
``error:TEXT``; or ``crash-at-exit``, when all is done.
"""

import ctypes
import os
import resource
import sys
import time
from typing import Any

import msgspec
import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino_reranker.npu_worker.npu import compiler_process
from openvino_reranker.npu_worker.npu.compiler_process import Order, Outcome
from openvino_reranker.npu_worker.npu.host_embeddings import make_static

_PR_SET_DUMPABLE = 4  # prctl(2)
#: What is added to every logit; ``zeros`` multiplies.
CHANGES = {"zeros": 0.0, "nan": np.nan, "off": 0.2, "slightly-off": 0.05}


def bend(model: Any, how: str) -> None:
    """Change what a model answers."""
    result = model.get_results()[0]
    logit = result.input_value(0)
    constant = op.constant(np.float32(CHANGES[how]))
    bent = op.multiply(logit, constant) if how == "zeros" else op.add(logit, constant)
    result.input(0).replace_source_output(bent.output(0))


def main() -> None:
    how = sys.argv[1]
    # No core: to write one takes a minute on a busy machine. Without the first, the kernel still prepares for it.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    if how == "abort" or how == f"abort-{order.tokens}":
        os.abort()
    if how == "hang":
        time.sleep(600)
    if how == "status":
        sys.exit(3)
    if how == "nonsense":
        print("what?")
        return
    if how.startswith("error:"):
        outcome = Outcome(0.1, error=how.removeprefix("error:"))
    elif how == "not-exported":
        outcome = Outcome(0.1, not_exported="Exception from x.cpp:1:\nExport is not supported")
    else:

        def make_bent(model: Any, tokens: int) -> None:
            make_static(model, tokens)
            if how in CHANGES:
                bend(model, how)
            elif how == f"off-{tokens}":
                bend(model, "off")

        compiler_process.__dict__["make_static"] = make_bent
        outcome = compiler_process.compile_order(order)
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    if how == "crash-at-exit":
        sys.stdout.flush()
        os.abort()


assert ov  # loaded before the order is read, as in the real one
main()
