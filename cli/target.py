"""``--url`` and ``--socket``: which running service a command asks."""

import argparse
from pathlib import Path

from ..bench.target import Target
from .settings import Settings


def add_target(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare the two flags."""
    group = parser.add_mutually_exclusive_group(required=required)
    by_default = "" if required else "; the broker's socket if not given"
    group.add_argument("--url", help=f"the HTTP front, such as http://127.0.0.1:18818{by_default}")
    group.add_argument("--socket", type=Path, metavar="PATH", help="the broker's requests.sock")


def target_of(arguments: argparse.Namespace, settings: Settings) -> Target:
    """Return the service that is meant."""
    if arguments.url:
        return Target(url=arguments.url)
    return Target(socket=arguments.socket or settings.requests_socket)
