"""``pull``: get a model and make it ready to be served."""

import argparse
import sys

from .model_choice import weight_precisions
from .settings import Settings, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a hub id (org/name[@revision]), a folder or file with the model, or the word 'packaged'; "
        "default: OPENVINO_RERANKER_MODEL, else cross-encoder/ms-marco-MiniLM-L6-v2, "
        "or the packaged model if the hub cannot be reached",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the model ready and print where it is; return 0, 1 for an error, 130 after Ctrl-C."""
    settings = read_settings(arguments)
    if settings.model_dir is not None and arguments.model is None:
        _say(f"OPENVINO_RERANKER_MODEL_DIR names a ready model ({settings.model_dir}); there is nothing to pull")
        return 0
    # These need the extra [worker] and a second to load.
    from ..npu_worker.model.errors import ModelError
    from ..npu_worker.model.pull import pull

    try:
        ready = pull(settings.cache, arguments.model or settings.model, _precision(settings), _say)
    except ModelError as error:
        print(f"openvino-reranker: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("openvino-reranker: stopped; nothing was left behind", file=sys.stderr)
        return 130
    if settings.model_dir is not None:
        _say(f"OPENVINO_RERANKER_MODEL_DIR is set, so what is served is still {settings.model_dir}; unset it")
    print(f"{ready.card.name}  {ready.card.precision}  {ready.size / 1e6:.0f} MB  {ready.folder}")
    return 0


def _precision(settings: Settings) -> str:
    from ..npu_worker.model.cpu_precision import can_quantize

    best = weight_precisions(settings)[0]
    if settings.precision == "auto" and best == "int8" and not can_quantize():
        _say(
            "int8 weights would be faster on this CPU, but need nncf (pip install 'openvino-reranker[int8]'): "
            "continuing in fp16"
        )
        return "fp16"
    return best


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
