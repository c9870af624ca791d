"""The worker process: own the device, load the model, serve."""

import logging
import os
import time
from pathlib import Path
from typing import NoReturn

from ..daemon.notify import Notifier
from ..protocol.socket_paths import WORKERS_SOCKET
from ..protocol.timeouts import DEFAULT_TIMEOUTS, Timeouts
from .announcement import Announcement
from .engine import Engine
from .errors import DeviceStuck, WorkerError
from .lock import DeviceLock
from .loop import Dismissal, WorkerLoop
from .npu.platform import Platform
from .npu.settings import NpuSettings

logger = logging.getLogger("openvino_reranker.worker")

#: Loading and compiling may take so long before the service manager ends it, s.
LOAD_LIMIT_S = 900.0


def run_worker(
    runtime_dir: Path,
    model_dir: Path,
    device: str,
    precision: str,
    threads: int,
    notifier: Notifier | None = None,
    npu: NpuSettings | None = None,
    platform: Platform | None = None,
) -> None:
    """Serve until told to stop.

    Args:
        runtime_dir: The folder of the broker's sockets and of the device's lock.
        model_dir: A ready model's folder.
        device: ``NPU``, ``CPU`` or ``GPU``.
        precision: Of the arithmetic on the CPU: ``f32``, ``bf16`` or ``auto``.
        threads: Cores to use on the CPU; 0 for all.
        notifier: The line to the service manager, if there is one.
        npu: How to use the NPU.
        platform: The machine; the real one if not given.

    Raises:
        WorkerError: With the sentence to show and the exit status.
    """
    notifier = notifier or Notifier()

    workers_socket = runtime_dir / WORKERS_SOCKET
    with DeviceLock(runtime_dir, device):
        started = time.monotonic()
        loading = f"loading {model_dir} for {device}"
        logger.info(loading)
        with notifier.starting_slowly(loading, LOAD_LIMIT_S), Announcement(workers_socket, loading) as announcement:

            def say(line: str) -> None:
                logger.info(line)
                notifier.status(line)
                announcement.say(line)

            try:
                engine = Engine.open(model_dir, device, precision, threads, npu, platform, say)
            except DeviceStuck as error:
                logger.error("%s", error)
                _end_now(error.status)
        name = engine.model.card.name
        logger.info(
            "%s is ready on %s in %s after %.1f s",
            name,
            engine.device.name,
            engine.device.precision,
            time.monotonic() - started,
        )
        serve(engine, workers_socket, notifier)


def serve(
    engine: Engine,
    workers_socket: Path,
    notifier: Notifier | None = None,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
) -> None:
    """Serve a ready engine to the broker until told to stop.

    Where the device still holds a run at the end, or gets a bucket ready, the process ends here: see ``DeviceStuck``.

    Raises:
        WorkerError: With the sentence to show and the exit status.
    """
    loop = WorkerLoop(
        engine.device, engine.tokenizer, engine.model.card.name, workers_socket, notifier, engine.monitor, timeouts
    )
    status = 0
    try:
        loop.run()
    except Dismissal as dismissal:
        logger.warning("dismissed: %s", dismissal)
    except WorkerError as error:
        if not _in_openvino(loop, engine):
            raise
        logger.error("%s", error)
        status = error.status
    if _in_openvino(loop, engine):
        _end_now(status)


def _in_openvino(loop: WorkerLoop, engine: Engine) -> bool:
    """Return whether a thread may be inside of OpenVINO: at the interpreter's end that would abort the process."""
    return loop.device_busy or bool(engine.device.progress())


def _end_now(status: int) -> NoReturn:
    """End the process without OpenVINO's destructors, which would wait for what the device never finishes."""
    logging.shutdown()
    os._exit(status)
