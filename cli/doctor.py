"""``doctor``: everything a bug report needs, with or without a running service."""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..npu_worker.npu.plugin_options import read_options
from .install.install_paths import InstallPaths
from .model_choice import find_model, npu_settings
from .settings import Settings, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--npu", action="store_true", help="test the NPU: compile, test and time every row length (minutes)"
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="--npu, then measure which options of its plugin are fastest here (up to half an hour)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where --npu writes its report (default: in this folder)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 0 unless there is a problem, else 1, or with --npu the status of what failed."""
    # These need the extra [worker] and a second to load.
    import openvino as ov

    from ..npu_worker.doctor.findings import as_json, as_text, problem, soften, worst
    from ..npu_worker.doctor.kernel import check_machine
    from ..npu_worker.doctor.openvino_stack import check_openvino
    from ..npu_worker.doctor.report import as_markdown, private_texts
    from ..npu_worker.doctor.service import check_cache, check_model, check_sockets
    from ..npu_worker.errors import WorkerError

    settings = read_settings(arguments)
    trying = arguments.npu or arguments.sweep
    report = arguments.report or Path(time.strftime("openvino-reranker-npu-%Y%m%d-%H%M%S.md"))
    findings = check_machine() + check_openvino(ov.Core(), ov.get_version())
    if settings.device != "NPU" and not trying:
        findings = soften(findings)
    folder = None
    try:
        folder = find_model(settings)
        findings.append(check_model(folder))
    except WorkerError as error:
        findings.append(problem("model", str(error), "openvino-reranker pull"))
    findings.append(check_cache(settings.cache, npu_settings(settings).cache))
    findings += check_sockets(settings.requests_socket.parent)
    if not arguments.json:
        print(as_text(findings), flush=True)

    status = 1 if worst(findings) == "problem" else 0
    results: dict[str, Any] = {}
    if trying and folder is not None:
        try:
            report.touch()  # before minutes of work
        except OSError as error:
            print(
                f"openvino-reranker: cannot write the report {report}: {error.strerror}; see --report", file=sys.stderr
            )
            return 1
        status = _try(arguments, settings, folder, results) or status
        private = private_texts({folder: "model", settings.cache: "cache", settings.runtime_dir: "runtime"})
        report.write_text(as_markdown(findings, results, private), encoding="utf-8")
        print(f"wrote {report}: please review it and send it to us, whether it works or not", file=sys.stderr)
    if arguments.json:
        print(as_json(findings, results))
    elif best := (results.get("sweep") or {}).get("best"):
        _offer(best, settings)
    return status


def _try(arguments: argparse.Namespace, settings: Settings, folder: Path, results: dict[str, Any]) -> int:
    """Test the NPU, into ``results``; return the exit status."""
    from ..npu_worker.doctor.sweep import sweep
    from ..npu_worker.doctor.trial import try_npu
    from ..npu_worker.errors import WorkerError
    from ..npu_worker.lock import DeviceLock
    from ..npu_worker.npu.platform import Platform

    npu = npu_settings(settings)
    try:
        with DeviceLock(settings.runtime_dir, "NPU"):  # beside a worker it would measure that one's work too
            results["trial"] = try_npu(folder, npu, Platform(), _say)
            if arguments.sweep:
                results["sweep"] = sweep(folder, npu, Platform(), _say)
    except KeyboardInterrupt:
        results["failed"] = "interrupted"
        return 130
    except Exception as error:  # any failure is what the report is for
        expected = isinstance(error, WorkerError)
        results["failed"] = str(error) if expected else "".join(traceback.format_exception(error))
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return error.status if isinstance(error, WorkerError) else WorkerError.status
    return int(results["trial"]["status"])


def _offer(best: Mapping[str, Any], settings: Settings) -> None:
    """Print the setting that the sweep found best, and write it into the environment file if the user agrees."""
    lines = setting_lines(best, settings)
    print(f"\nFastest here, {best['factor']} times what is set now ({best['variant']}):\n  " + "\n  ".join(lines))
    file = InstallPaths("user", Path("/")).environment
    if not (file.exists() and sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"Write these lines into the service's environment file ({file}) and restart it.")
        return
    if input(f"Add these lines to {file}? [y/N] ").strip().lower() in {"y", "yes"}:
        with file.open("a", encoding="utf-8") as opened:
            opened.write("\n# From 'openvino-reranker doctor --sweep':\n" + "\n".join(lines) + "\n")
        print("Added. To use them: systemctl --user restart openvino-reranker.target")


def setting_lines(best: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return the assignments that make a sweep's best setting the service's."""
    options = read_options(",".join(settings.npu_options)) | dict(best["options"])
    hint = options.pop("PERFORMANCE_HINT", settings.npu_hint).lower()
    values = {"HINT": hint, "REQUESTS": str(best["in_flight"])}
    if options:
        values["OPTIONS"] = json.dumps(",".join(f"{name}={value}" for name, value in options.items()))
    return [f"OPENVINO_RERANKER_NPU_{name}={value}" for name, value in values.items()]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
