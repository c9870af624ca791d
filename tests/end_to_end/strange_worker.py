"""A worker process with a fault to order: ``python -m ... RUNTIME MODEL FAULT``.

``poison``: dies on a passage that holds POISON, as a driver that crashes would take it along.
``hang``: the device takes runs and finishes none, and the worker does not end itself for it.
``nan``: the device returns NaN.
``plain``: no fault, and no lock on the device, so that there can be two.
"""

import logging
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from openvino_reranker.npu_worker import job
from openvino_reranker.npu_worker.device import Finished
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import WorkerError
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.npu_worker.worker import serve
from openvino_reranker.protocol.worker_messages import Batch


def main(runtime: Path, model: Path, fault: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    engine = Engine.open(model, "CPU")
    device: Any = engine.device
    match fault:
        case "poison":
            encode = job.Job._encode

            def die_of_poison(self: job.Job, batch: Batch, tokenizer: PairTokenizer) -> None:
                if any(b"POISON" in passage for _, passage in batch.pairs):
                    os.kill(os.getpid(), signal.SIGKILL)
                encode(self, batch, tokenizer)

            job.Job._encode = die_of_poison  # type: ignore[method-assign]
        case "hang":
            device.collect = list
        case "nan":
            collect = device.collect
            device.collect = lambda: [
                Finished(each.run, [math.nan] * len(each.run.rows), each.ended) for each in collect()
            ]
    try:
        serve(engine, runtime / "workers.sock")
    except WorkerError as error:
        sys.exit(error.status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
