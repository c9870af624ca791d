"""``broker``: the broker alone in the foreground, as a service manager runs it."""

import argparse
import logging

from ..broker.server import BrokerServer
from ..daemon.activation import UNIX, WrongDescriptor, adopt_listening_socket, adopt_sockets, only_one
from ..daemon.notify import Notifier
from ..daemon.unix_socket import SocketTaken
from ..protocol.worker_messages import WindowPlan
from .component import add_log_arguments, start

logger = logging.getLogger("openvino_reranker")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    for name in ("requests", "workers"):
        parser.add_argument(
            f"--{name}-fd", type=int, metavar="N", help=f"the {name}' listening socket, inherited from the caller"
        )
    add_log_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the broker until told to stop; 1 if it cannot listen."""
    settings = start(arguments)
    notifier = Notifier.from_environment()
    try:
        listening = only_one(adopt_sockets({"requests": UNIX, "workers": UNIX}))
        activated = bool(listening)
        for name, descriptor in (("requests", arguments.requests_fd), ("workers", arguments.workers_fd)):
            if descriptor is not None:
                listening[name] = adopt_listening_socket(descriptor, f"--{name}-fd", UNIX)
        server = BrokerServer(
            settings.runtime_dir,
            listening,
            # systemd starts the next broker on the same sockets, also after an orderly stop; `serve` does not.
            outlived=activated,
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
