"""``worker``: the worker alone in the foreground, as a service manager runs it."""

import argparse
import logging

from ..daemon.notify import Notifier
from ..npu_worker.errors import WorkerError
from .component import add_log_arguments as add_arguments
from .component import start
from .model_choice import find_model, npu_settings

__all__ = ["add_arguments", "run"]

logger = logging.getLogger("openvino_reranker")


def run(arguments: argparse.Namespace) -> int:
    """Run the worker until told to stop; the exit status says whether restarting can help."""
    settings = start(arguments)
    from ..npu_worker.worker import run_worker  # takes a second to load

    try:
        run_worker(
            settings.runtime_dir,
            find_model(settings),
            settings.device,
            settings.inference_precision,
            settings.threads,
            Notifier.from_environment(),
            npu_settings(settings),
        )
    except WorkerError as error:
        logger.error("%s", error)
        return error.status
    except Exception:
        logger.exception("unexpected error in the worker; please report it")
        return WorkerError.status
    return 0
