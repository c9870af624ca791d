"""``doctor``: everything a bug report needs, with or without a running service."""

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from .model_choice import find_model, npu_settings
from .settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--npu", action="store_true", help="try the NPU out: compile, prove and time every row length (minutes)"
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
    from ..npu_worker.doctor.npu_benchmark import try_npu
    from ..npu_worker.doctor.openvino_stack import check_openvino
    from ..npu_worker.doctor.service import check_cache, check_model, check_sockets
    from ..npu_worker.errors import WorkerError
    from ..npu_worker.lock import DeviceLock
    from ..npu_worker.npu.platform import Platform

    settings = read_settings(arguments)
    npu = npu_settings(settings)
    report = arguments.report or Path(time.strftime("openvino-reranker-npu-%Y%m%d-%H%M%S.json"))
    findings = check_machine() + check_openvino(ov.Core(), ov.get_version())
    if settings.device != "NPU" and not arguments.npu:
        findings = soften(findings)
    folder = None
    try:
        folder = find_model(settings)
        findings.append(check_model(folder))
    except WorkerError as error:
        findings.append(problem("model", str(error), "openvino-reranker pull"))
    findings.append(check_cache(settings.cache, npu.cache))
    findings += check_sockets(settings.requests_socket.parent)
    if not arguments.json:
        print(as_text(findings), flush=True)

    status = 1 if worst(findings) == "problem" else 0
    more: dict[str, Any] = {}
    if arguments.npu and folder is not None:
        try:
            report.touch()  # before minutes of work
        except OSError as error:
            print(
                f"openvino-reranker: cannot write the report {report}: {error.strerror}; see --report", file=sys.stderr
            )
            return 1
        try:
            with DeviceLock(settings.runtime_dir, "NPU"):  # with a worker running, its work would be measured too
                more["trial"] = try_npu(folder, npu, Platform(), _say)
        except Exception as error:  # whatever it is, it is what the report is for
            known = isinstance(error, WorkerError)
            status = error.status if isinstance(error, WorkerError) else WorkerError.status
            more["failed"] = str(error) if known else "".join(traceback.format_exception(error))
            print(f"openvino-reranker: {error}", file=sys.stderr)
        report.write_text(as_json(findings, more) + "\n", encoding="utf-8")
        print(f"wrote {report}: please send it to us, working or not", file=sys.stderr)
    if arguments.json:
        print(as_json(findings, more))
    return status


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
