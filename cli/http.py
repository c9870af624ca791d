"""``http``: the HTTP front alone in the foreground, as a service manager runs it."""

import argparse
import logging
import os
import socket
from ipaddress import ip_address

from ..client.over_http import API_KEY_VARIABLE
from ..daemon.activation import UNIX_OR_TCP, WrongDescriptor, adopt_listening_socket, adopt_sockets
from ..daemon.notify import Notifier
from .addresses import names_of
from .component import add_log_arguments, start

logger = logging.getLogger("openvino_reranker")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("--fd", type=int, metavar="N", help="serve this listening socket, inherited from the caller")
    add_log_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the HTTP front until told to stop; 1 if it cannot listen."""
    settings = start(arguments)
    # These need the extra [http].
    from ..http_front.api_key import BadKeyFile, read_keys
    from ..http_front.app import make_app
    from ..http_front.server import PortTaken, address, bind, bind_unix, serve

    notifier = Notifier.from_environment()
    try:
        # One key may be given without a file, but not as a flag, which others could see in the list of processes.
        keys = read_keys(settings.api_key_file, os.environ.get(API_KEY_VARIABLE))
        listening = adopt_sockets({"http": UNIX_OR_TCP}).get("http", [])
        if arguments.fd is not None:
            listening.append(adopt_listening_socket(arguments.fd, "--fd", UNIX_OR_TCP))
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
                "listening on %s: anyone on the network can use this service without authentication; "
                "require a key with --api-key-file",
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
