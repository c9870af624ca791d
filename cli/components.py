"""``broker``, ``worker`` and ``http``: one component in the foreground, as a service manager runs it."""

import argparse
import logging
import os
import socket
from ipaddress import ip_address

from ..daemon.activation import UNIX, UNIX_OR_TCP, WrongDescriptor, adopt_sockets, check_listening, only_one
from ..daemon.logs import start_logging
from ..daemon.notify import Notifier
from ..protocol.messages import WindowPlan
from .addresses import names_of
from .model_choice import find_model, npu_settings
from .settings import Settings, read_settings

logger = logging.getLogger("openvino_reranker")

#: An API key that callers may use; no flag, which others could see in the list of processes.
API_KEY_VARIABLE = "OPENVINO_RERANKER_API_KEY"


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--verbose``."""
    parser.add_argument("--verbose", action="store_true", help="log every request and batch")


def add_http_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``http`` that are not settings."""
    parser.add_argument("--fd", type=int, metavar="N", help="serve this listening socket, inherited from the caller")
    add_log_arguments(parser)


def start(arguments: argparse.Namespace) -> Settings:
    """Return the settings in force, with the log of this component started.

    Raises:
        SettingError: A setting has a value it cannot have.
    """
    settings = read_settings(arguments)
    start_logging(arguments.command, verbose=arguments.verbose)
    return settings


def run_broker(arguments: argparse.Namespace) -> int:
    """Run the broker until told to stop; 1 if it cannot listen."""
    settings = start(arguments)
    from ..broker.server import BrokerServer
    from ..daemon.unix_socket import SocketTaken

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
    except (WrongDescriptor, SocketTaken) as error:
        logger.error("%s", error)
        return 1
    except OSError as error:
        logger.error("cannot listen in %s: %s", settings.runtime_dir, error.strerror or error)
        return 1
    server.run()
    return 0


def run_worker(arguments: argparse.Namespace) -> int:
    """Run the worker until told to stop; the exit status says whether starting again can help."""
    settings = start(arguments)
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
    except Exception:
        logger.exception("the worker failed in a way nobody foresaw; please report this")
        return WorkerError.status
    return 0


def run_http(arguments: argparse.Namespace) -> int:
    """Run the HTTP front until told to stop; 1 if it cannot listen."""
    settings = start(arguments)
    from ..http_front.api_key import BadKeyFile, read_keys
    from ..http_front.app import make_app
    from ..http_front.server import PortTaken, address, bind, bind_unix, serve

    notifier = Notifier.from_environment()
    try:
        keys = read_keys(settings.api_key_file, os.environ.get(API_KEY_VARIABLE))
        listening = adopt_sockets({"http": UNIX_OR_TCP}).get("http", [])
        if arguments.fd is not None:
            listening.append(check_listening(arguments.fd, "--fd", UNIX_OR_TCP))
        if not listening:
            listening.append(bind(settings.host, settings.port))
        names = [address(each) for each in listening]
        if settings.uds is not None:
            listening.append(bind_unix(settings.uds))
            names.append(str(settings.uds))
    except (BadKeyFile, WrongDescriptor, PortTaken) as error:
        logger.error("%s", error)
        return 1
    for each in listening:
        if not keys and each.family != socket.AF_UNIX and not ip_address(each.getsockname()[0]).is_loopback:
            logger.warning(
                "listening on %s: others on the network can reach this service, and nothing asks who they are; "
                "--api-key-file lets in those alone who have a key",
                address(each),
            )
    hosts = [*settings.allow_host, *names_of(settings.host, listening)]
    app = make_app(
        settings.requests_socket,
        settings.timeout,
        hosts,
        settings.allow_origin,
        keys=keys,
        strict_model=settings.strict_model == "yes",
    )
    try:
        serve(app, listening, names, notifier)
    finally:
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)
    return 0
