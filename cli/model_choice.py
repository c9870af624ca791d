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
    try:
        if settings.model is not None:
            folder = find_ready(settings.cache, settings.model, settings.precision)
        else:
            folder = find_default(settings.cache, settings.precision)
    except ModelError as error:
        raise ModelUnusable(str(error)) from error
    if folder is None:
        model = f" {settings.model}" if settings.model else ""
        weights = "" if settings.precision == "fp16" else f" --precision {settings.precision}"
        raise ModelUnusable(
            f"no model{model} ({settings.precision}) is ready under {settings.cache}; "
            f"get it with 'openvino-reranker pull{model}{weights}'"
        )
    return folder
