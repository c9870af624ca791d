"""The program: one table of its commands, and how their errors are reported."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..daemon.stop_signal import hold_interrupts
from .settings import SettingError, add_settings

_DESCRIPTION = """A local rerank service for RAG: one process owns the NPU (or the CPU), every program shares it.

first time:   openvino-reranker pull       get a model and make it ready
              openvino-reranker serve      run the service
              (without an NPU: both with --device CPU)
then:         openvino-reranker rerank "a question" "a passage" "another passage"
              openvino-reranker smoke --url http://127.0.0.1:18818
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, its line in the help, and its module in this package.

    The module has ``add_arguments(parser)``, ``run(arguments)``, which returns the exit status, and may have an
    ``EPILOG`` for its help. It is imported for its own command alone, so that every one starts fast.
    """

    name: str
    summary: str
    module: str

    def load(self) -> Any:
        """Return its module."""
        return importlib.import_module(f".{self.module}", __package__)


COMMANDS = (
    Command("serve", "run broker, worker and HTTP front in the foreground", "serve"),
    Command("broker", "run the broker alone", "broker"),
    Command("worker", "run the worker alone", "worker"),
    Command("http", "run the HTTP front alone", "http"),
    Command("pull", "get a model and make it ready", "pull"),
    Command("rerank", "rank documents", "rerank"),
    Command("smoke", "check that a running service ranks correctly", "smoke"),
    Command("status", "show what the service is doing", "status"),
    Command("bench", "measure a running service under load", "bench"),
    Command("evaluate", "measure the order that a running service gives a judged collection", "evaluate"),
    Command("bulk", "rank a file of queries and candidates, of any size", "bulk"),
    Command("doctor", "collect everything a bug report needs; --npu tests the NPU", "doctor"),
    Command("mcp", "offer the service to an assistant as a tool, over stdio", "mcp"),
    Command("install-units", "write systemd units for this environment", "install.install_units"),
    Command("uninstall-units", "remove the systemd units that install-units wrote", "install.uninstall_units"),
)


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser for these arguments: it knows all commands, and the arguments of the one that is meant."""
    parser = argparse.ArgumentParser(
        prog="openvino-reranker", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"openvino-reranker {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    for command in COMMANDS:
        its_parser = parsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name == chosen:
            module = command.load()
            its_parser.epilog = getattr(module, "EPILOG", None)
            module.add_arguments(its_parser)
            add_settings(its_parser, command.name)
            its_parser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        with hold_interrupts():
            parser = make_parser(argv)
        arguments = parser.parse_args(argv)
        status: int = arguments.run(arguments)
    except SettingError as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; nothing more can be written
        return 141
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("openvino_reranker"):
            raise
        extra = {"mcp": "mcp", "pyarrow": "bulk", "ray": "ray"}.get(error.name, "all")
        print(
            f"openvino-reranker: '{argv[0]}' needs the package {error.name}, which is not installed; "
            f"install 'openvino-reranker[{extra}]'",
            file=sys.stderr,
        )
        return 1
    return status
