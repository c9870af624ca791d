"""Start the real worker on stand-in A: ``standin_worker.py TREE RUNTIME MODEL CACHE JSON``.

The JSON object holds arguments of ``NpuSettings``, and under ``platform`` those of ``StandIn``.
"""

import json
import logging
import sys
from pathlib import Path

from openvino_reranker.daemon.logs import start_logging
from openvino_reranker.npu_worker.errors import WorkerError
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.npu_worker.worker import run_worker
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn


def main() -> int:
    tree, runtime, model, cache = (Path(argument) for argument in sys.argv[1:5])
    settings = json.loads(sys.argv[5])
    platform = StandIn(tree / "sys", tree / "dev", **settings.pop("platform", {}))
    settings["buckets"] = tuple(settings.get("buckets", (64, 96)))
    start_logging("worker")
    if platform.device_name != "NPU":
        logging.warning("this is a %s: nothing of what follows says anything about an NPU", platform.device_name)
    try:
        run_worker(runtime, model, "NPU", "f32", 1, None, NpuSettings(cache, **settings), platform)
    except WorkerError as error:
        logging.error("%s", error)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
