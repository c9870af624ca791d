"""``broker``, ``worker`` and ``http``: one component in the foreground, as a service manager runs it."""

import argparse
import logging
import socket
from ipaddress import ip_address
from pathlib import Path

from ..daemon.activation import UNIX, UNIX_OR_TCP, WrongDescriptor, adopt_sockets, check_listening, only_one
from ..daemon.notify import Notifier
from ..npu_worker.npu.plugin_options import read_options
from ..npu_worker.npu.settings import NpuSettings
from ..protocol.messages import WindowPlan
from .addresses import names_of
from .settings import Settings

logger = logging.getLogger("openvino_reranker")


def run_broker(settings: Settings) -> int:
    """Run the broker until told to stop."""
    from ..broker.listener import SocketTaken
    from ..broker.server import BrokerServer

    notifier = Notifier.from_environment()
    try:
        listening = only_one(adopt_sockets({"requests": UNIX, "workers": UNIX}))
        server = BrokerServer(
            settings.runtime_dir,
            listening,
            batch_ms=settings.batch_ms,
            plan=WindowPlan(settings.max_windows, settings.window_stride),
            cache_bytes=settings.score_cache_mb << 20,
            notifier=notifier,
        )
    except (WrongDescriptor, SocketTaken, OSError) as error:
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
            Notifier.from_environment(),
            npu_settings(settings),
        )
    except WorkerError as error:
        logger.error("%s", error)
        return error.status
    return 0


def npu_settings(settings: Settings) -> NpuSettings:
    """Return the settings as the worker takes them for the NPU."""
    return NpuSettings(
        cache=settings.cache / "compiled",
        buckets=settings.npu_buckets,
        requests=settings.npu_requests,
        hint=settings.npu_hint,
        turbo=settings.npu_turbo == "yes",
        tiles=settings.npu_tiles,
        options=read_options(",".join(settings.npu_options)),
        proof_batches=settings.npu_proof_batches,
        compile_limit_s=settings.npu_compile_timeout,
    )


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
    parser.add_argument("--verbose", action="store_true", help="log more")


def run_http(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the HTTP front until told to stop."""
    from ..http_front.app import make_app
    from ..http_front.server import PortTaken, address, bind, serve

    notifier = Notifier.from_environment()
    try:
        listening = adopt_sockets({"http": UNIX_OR_TCP}).get("http", [])
        if arguments.fd is not None:
            listening.append(check_listening(arguments.fd, "--fd", UNIX_OR_TCP))
        if not listening:
            listening.append(bind(settings.host, settings.port))
    except (WrongDescriptor, PortTaken, OSError) as error:
        logger.error("%s", error)
        return 1
    for each in listening:
        if each.family != socket.AF_UNIX and not ip_address(each.getsockname()[0]).is_loopback:
            logger.warning(
                "listening on %s: others on the network can reach this service, and nothing asks who they are",
                address(each),
            )
    hosts = [*settings.allow_host, *names_of(settings.host, listening)]
    app = make_app(settings.requests_socket, settings.timeout, hosts, settings.allow_origin)
    serve(app, listening, notifier)
    return 0
