"""The program: its commands, their help, and what starts them."""

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..daemon.logs import start_logging
from . import bench, components, doctor, evaluate, pull, rerank, smoke, status
from .install import units
from .settings import SettingError, Settings, add_settings, read_settings

_DESCRIPTION = """A local rerank service for RAG: one process owns the NPU (or the CPU), every program asks it.

first time:   openvino-reranker pull       get a model and make it ready
              openvino-reranker serve      run the service (--device CPU without an NPU)
then:         openvino-reranker rerank "a question" "a passage" "another passage"
              openvino-reranker smoke --url http://127.0.0.1:18818
"""

_COMMANDS = {
    "serve": "run broker, worker and HTTP front in the foreground",
    "broker": "run the broker alone",
    "worker": "run the worker alone",
    "http": "run the HTTP front alone",
    "pull": "get a model and make it ready",
    "rerank": "rank documents",
    "smoke": "check that a running service ranks rightly",
    "status": "show what the service is doing",
    "bench": "load a running service and show what it did",
    "evaluate": "measure the order that a running service gives a judged collection",
    "doctor": "look at everything a bug report needs; --npu tries the NPU out",
    "install-units": "write systemd units for this environment",
    "uninstall-units": "remove the systemd units that install-units wrote",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="openvino-reranker", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"openvino-reranker {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog={"rerank": rerank.EXAMPLES, "bench": bench.EXAMPLES, "evaluate": evaluate.EXAMPLES}.get(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        match name:
            case "rerank":
                rerank.add_arguments(command)
            case "smoke":
                smoke.add_arguments(command)
            case "status":
                status.add_arguments(command)
            case "pull":
                pull.add_arguments(command)
            case "bench":
                bench.add_arguments(command)
            case "evaluate":
                evaluate.add_arguments(command)
            case "doctor":
                doctor.add_arguments(command)
            case "http":
                components.add_http_arguments(command)
            case "install-units" | "uninstall-units":
                units.add_arguments(command, name)
                continue  # their settings are those of the units, not of this process
            case _:
                command.add_argument("--verbose", action="store_true", help="log more")
        add_settings(command, name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "install-units":
        return units.install(arguments)
    if arguments.command == "uninstall-units":
        return units.uninstall(arguments)
    try:
        settings = read_settings(arguments)
    except SettingError as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 2
    try:
        return _run(arguments, settings)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing more to say
        return 141
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("openvino_reranker"):
            raise
        print(
            f"openvino-reranker: '{arguments.command}' needs the package {error.name}, which is not installed; "
            "install 'openvino-reranker[all]'",
            file=sys.stderr,
        )
        return 1


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.command:
        case "rerank":
            return rerank.run(arguments, settings)
        case "smoke":
            return smoke.run(arguments, settings)
        case "status":
            return status.run(arguments, settings)
        case "pull":
            return pull.run(arguments, settings)
        case "bench":
            # multiprocessing starts its processes with -c, which would import from the working folder.
            os.environ["PYTHONSAFEPATH"] = "1"
            return bench.run(arguments, settings)
        case "evaluate":
            return evaluate.run(arguments, settings)
        case "doctor":
            return doctor.run(arguments, settings)
    start_logging(arguments.command, verbose=getattr(arguments, "verbose", False))
    match arguments.command:
        case "broker":
            return components.run_broker(settings)
        case "worker":
            return components.run_worker(settings)
        case "http":
            return components.run_http(arguments, settings)
        case _:
            from . import serve

            return serve.run(settings, verbose=arguments.verbose)
