"""The program: one table of its commands, and what happens to whatever they raise."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import __version__
from . import bench, components, doctor, evaluate, mcp, pull, rerank, serve, smoke, status
from .install import units
from .settings import SettingError, add_settings

_DESCRIPTION = """A local rerank service for RAG: one process owns the NPU (or the CPU), every program asks it.

first time:   openvino-reranker pull       get a model and make it ready
              openvino-reranker serve      run the service (--device CPU without an NPU)
then:         openvino-reranker rerank "a question" "a passage" "another passage"
              openvino-reranker smoke --url http://127.0.0.1:18818
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, its line in the help, what runs it, its own arguments, and more help below them.

    ``run`` returns the exit status.
    """

    name: str
    summary: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    epilog: str | None = None


COMMANDS = (
    Command(
        "serve",
        "run broker, worker and HTTP front in the foreground",
        serve.run,
        components.add_log_arguments,
        serve.EPILOG,
    ),
    Command("broker", "run the broker alone", components.run_broker, components.add_log_arguments),
    Command("worker", "run the worker alone", components.run_worker, components.add_log_arguments),
    Command("http", "run the HTTP front alone", components.run_http, components.add_http_arguments),
    Command("pull", "get a model and make it ready", pull.run, pull.add_arguments),
    Command("rerank", "rank documents", rerank.run, rerank.add_arguments, rerank.EXAMPLES),
    Command("smoke", "check that a running service ranks correctly", smoke.run, smoke.add_arguments),
    Command("status", "show what the service is doing", status.run, status.add_arguments),
    Command("bench", "measure a running service under load", bench.run, bench.add_arguments, bench.EXAMPLES),
    Command(
        "evaluate",
        "measure the order that a running service gives a judged collection",
        evaluate.run,
        evaluate.add_arguments,
        evaluate.EXAMPLES,
    ),
    Command(
        "doctor", "collect everything a bug report needs; --npu tries the NPU out", doctor.run, doctor.add_arguments
    ),
    Command("mcp", "offer the service to an assistant as a tool, over stdio", mcp.run, mcp.add_arguments, mcp.EXAMPLES),
    Command("install-units", "write systemd units for this environment", units.install, units.add_install_arguments),
    Command(
        "uninstall-units", "remove the systemd units that install-units wrote", units.uninstall, units.add_arguments
    ),
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="openvino-reranker", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"openvino-reranker {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        its_parser = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(its_parser)
        add_settings(its_parser, command.name)
        its_parser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except SettingError as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output is gone; nothing more can be said
        return 141
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("openvino_reranker"):
            raise
        extra = "mcp" if error.name == "mcp" else "all"
        print(
            f"openvino-reranker: '{arguments.command}' needs the package {error.name}, which is not installed; "
            f"install 'openvino-reranker[{extra}]'",
            file=sys.stderr,
        )
        return 1
    return status
