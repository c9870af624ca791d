"""Which model and which NPU options the settings name, for every command that opens a model."""

from pathlib import Path

from ..npu_worker.npu.plugin_options import read_options
from ..npu_worker.npu.settings import NpuSettings
from .settings import Settings


def npu_settings(settings: Settings) -> NpuSettings:
    """Return the NPU's part of the settings in the worker's form."""
    return NpuSettings(
        cache=settings.cache / "compiled",
        buckets=settings.npu_buckets,
        requests=settings.npu_requests,
        hint=settings.npu_hint,
        options=read_options(",".join(settings.npu_options)),
        compile_limit_s=settings.npu_compile_timeout,
    )


def weight_precisions(settings: Settings) -> tuple[str, ...]:
    """Return the weights to look for, the best first: the one that is named, else what suits device and CPU."""
    if settings.precision != "auto":
        return (settings.precision,)
    from ..npu_worker.model.cpu_precision import preferred_precisions, read_cpu_flags

    return preferred_precisions(settings.device, read_cpu_flags())


def find_model(settings: Settings) -> Path:
    """Return the folder of the ready model that the settings name.

    Raises:
        ModelUnusable: There is none; says how to get it.
    """
    # These need the extra [worker].
    from ..npu_worker.errors import ModelUnusable
    from ..npu_worker.model.errors import ModelError
    from ..npu_worker.model.store import find_default, find_ready

    if settings.model_dir is not None:
        return settings.model_dir
    precisions = weight_precisions(settings)
    try:
        if settings.model is not None:
            folder = find_ready(settings.cache, settings.model, precisions)
        else:
            folder = find_default(settings.cache, precisions)
    except ModelError as error:
        raise ModelUnusable(str(error)) from error
    if folder is None:
        model = f" {settings.model}" if settings.model else ""
        weights = "" if settings.precision == "auto" else f" --precision {settings.precision}"
        device = "" if settings.device == "NPU" else f" --device {settings.device}"
        raise ModelUnusable(
            f"no model{model} ({' or '.join(precisions)}) is ready under {settings.cache}; "
            f"get it with 'openvino-reranker pull{model}{weights}{device}'"
        )
    return folder
