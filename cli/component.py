"""What ``broker``, ``worker``, ``http`` and ``serve`` have in common: settings in force, and a log."""

import argparse

from ..daemon.logs import start_logging
from .settings import Settings, read_settings


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--verbose``."""
    parser.add_argument("--verbose", action="store_true", help="log every request and batch")


def start(arguments: argparse.Namespace) -> Settings:
    """Return the settings in force, with the log of this component started.

    Raises:
        SettingError: A setting has a value it cannot have.
    """
    settings = read_settings(arguments)
    start_logging(arguments.command, verbose=arguments.verbose)
    return settings
