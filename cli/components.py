"""``broker``, ``worker`` and ``http``: one component in the foreground, as a service manager runs it."""

import argparse
import logging
import socket
import sys
from pathlib import Path

from .settings import Settings

logger = logging.getLogger("openvino_reranker")


def run_broker(settings: Settings) -> int:
    """Run the broker until told to stop."""
    from ..broker.listener import SocketTaken
    from ..broker.server import BrokerServer

    try:
        server = BrokerServer(settings.runtime_dir, batch_ms=settings.batch_ms)
    except (SocketTaken, OSError) as error:
        logger.error("%s", error)
        return 1
    server.run()
    return 0


def run_worker(settings: Settings) -> int:
    """Run the worker until told to stop; the exit status says whether starting again can help."""
    from ..npu_worker.errors import WorkerError
    from ..npu_worker.worker import run_worker as work

    try:
        work(
            settings.runtime_dir,
            find_model(settings),
            settings.device,
            settings.inference_precision,
            settings.threads,
        )
    except WorkerError as error:
        logger.error("%s", error)
        return error.status
    return 0


def find_model(settings: Settings) -> Path:
    """Return the folder of the ready model that the settings name.

    Raises:
        ModelUnusable: There is none; says how to get it.
    """
    from ..npu_worker.errors import ModelUnusable
    from ..npu_worker.model.errors import ModelError
    from ..npu_worker.model.store import find_default, find_ready

    if settings.model_dir is not None:
        return settings.model_dir
    try:
        if settings.model is not None:
            found = find_ready(settings.cache, settings.model, settings.precision)
        else:
            found = find_default(settings.cache, settings.precision)
    except ModelError as error:
        raise ModelUnusable(str(error)) from error
    if found is None:
        wanted = f" {settings.model}" if settings.model else ""
        weights = "" if settings.precision == "fp16" else f" --precision {settings.precision}"
        raise ModelUnusable(
            f"no ready model{wanted} ({settings.precision}) under {settings.cache}; "
            f"get it with 'openvino-reranker pull{wanted}{weights}'"
        )
    return found


def add_http_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``http`` that are no settings."""
    parser.add_argument("--fd", type=int, metavar="N", help="serve this listening socket, inherited from the caller")


def run_http(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the HTTP front until told to stop."""
    from ..http_front.app import make_app
    from ..http_front.guard import LOOPBACK_HOSTS
    from ..http_front.server import PortTaken, bind, serve

    try:
        if arguments.fd is not None:
            listening = socket.socket(fileno=arguments.fd)
        else:
            listening = bind(settings.host, settings.port)
    except (PortTaken, OSError) as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    if settings.host not in LOOPBACK_HOSTS:
        logger.warning(
            "listening on %s: others on the network can reach this service, and nothing asks who they are",
            settings.host,
        )
    app = make_app(settings.requests_socket, settings.timeout, settings.allow_host, settings.allow_origin)
    serve(app, listening)
    return 0
