"""The worker process: own the device, load the model, serve."""

import logging
import time
from pathlib import Path

from ..client.sockets import WORKERS_SOCKET
from .engine import Engine
from .lock import DeviceLock
from .loop import Dismissal, WorkerLoop

logger = logging.getLogger("openvino_reranker.worker")


def run_worker(runtime_dir: Path, model_dir: Path, device: str, precision: str, threads: int) -> None:
    """Serve until told to stop.

    Args:
        runtime_dir: The folder of the broker's sockets and of the device's lock.
        model_dir: A ready model's folder.
        device: ``NPU``, ``CPU`` or ``GPU``.
        precision: Of the arithmetic on the CPU: ``f32``, ``bf16`` or ``auto``.
        threads: Cores to use on the CPU; 0 for all.

    Raises:
        WorkerError: With the sentence to show and the exit status.
    """
    with DeviceLock(runtime_dir, device):
        started = time.monotonic()
        logger.info("loading %s for %s", model_dir, device)
        engine = Engine.open(model_dir, device, precision, threads)
        name = engine.model.card.name
        logger.info(
            "%s is ready on %s in %s after %.1f s",
            name,
            engine.device.name,
            engine.device.precision,
            time.monotonic() - started,
        )
        try:
            WorkerLoop(engine.device, engine.tokenizer, name, runtime_dir / WORKERS_SOCKET).run()
        except Dismissal as dismissal:
            logger.warning("dismissed: %s", dismissal)
