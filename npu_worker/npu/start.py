"""From a ready model to an NPU whose longest bucket has passed its self-test; shorter ones get ready in a thread."""

import logging
import time
from dataclasses import asdict
from typing import Any

from ..errors import DeviceUnavailable
from ..model.card import MODEL_FILE, WEIGHTS_FILE
from ..model.store import ReadyModel
from ..tokenization import PairTokenizer
from . import advice
from .blob_cache import BlobCache
from .bucket_builder import BucketBuilder
from .bucket_loader import BucketLoader, Say
from .bucket_plan import clip
from .busy_counter import BusyCounter
from .busy_monitor import BusyMonitor
from .device import NpuDevice
from .driver_files import numbers_of, read_packages
from .error_messages import Doing, translate
from .memory import available_bytes, needed_bytes
from .platform import Identity, Platform
from .plugin_options import default_options, openvino_libraries, optimal_requests, split_supported
from .reference_logits import Reference
from .settings import NpuSettings

logger = logging.getLogger("openvino_reranker.worker")


def start_npu(
    model: ReadyModel, tokenizer: PairTokenizer, settings: NpuSettings, platform: Platform, say: Say
) -> NpuDevice:
    """Return the NPU with its longest bucket ready; shorter ones follow in a thread.

    Raises:
        DeviceUnavailable: It is not there, not accessible, or not an NPU.
        NotProven: Its self-test failed.
        CompileFailed: Nothing can be compiled.
    """
    device, builder, cache = make_npu(model, tokenizer, settings, platform)
    warn_of_memory(model, builder.table_bytes, len(device.wanted), available_bytes())
    loader = BucketLoader(device, builder, cache, platform.device_epoch())
    loader.load_next(say)
    loader.load_rest_in_background()
    return device


def make_npu(
    model: ReadyModel, tokenizer: PairTokenizer, settings: NpuSettings, platform: Platform, *, retry: bool = False
) -> tuple[NpuDevice, BucketBuilder, BlobCache]:
    """Return the NPU without any bucket yet, what makes them, and where they are kept. Raises as ``start_npu``."""
    try:
        core = platform.make_core()
        identity = platform.identify(core)
        options = choose_options(core, settings, platform)
    except RuntimeError as error:
        raise translate(str(error), Doing.ASKING, "identifying the device", DeviceUnavailable) from error
    _warn(identity)
    counter = BusyCounter(platform.sysfs)
    cache = BlobCache(settings.cache, model.card, identity, options)
    requests = settings.requests or optimal_requests(identity.architecture, options.get("PERFORMANCE_HINT", ""))
    device = NpuDevice(
        clip(settings.buckets, model.card.max_length),
        requests,
        "int8" if model.card.precision == "int8" else "f16",
        BusyMonitor(counter, time.monotonic()),
        {**asdict(identity), "options": options},
        platform.device_name,
    )
    builder = BucketBuilder(
        model.folder / MODEL_FILE,
        model.card.precision,
        tokenizer,
        device.wanted,
        requests,
        core,
        platform,
        options,
        cache,
        Reference(model.folder / MODEL_FILE, settings.cache / f"{cache.model[:16]}-reference.json"),
        counter,
        settings.compile_limit_s,
        retry=retry,
    )
    return device, builder, cache


def choose_options(core: Any, settings: NpuSettings, platform: Platform) -> dict[str, str]:
    """Return what the plugin is told: our options as far as it knows them, and a person's own as they are."""
    ours = default_options(settings.hint, openvino_libraries())
    kept, dropped = split_supported(ours, core.get_property("NPU", "SUPPORTED_PROPERTIES"))
    if dropped:
        logger.info("this NPU's plugin does not know %s: left out", ", ".join(dropped))
    return kept | dict(settings.options) | dict(platform.forced_options)


def warn_of_memory(model: ReadyModel, on_host: int, buckets: int, available: int | None) -> None:
    """Say so, before minutes of compiling, where there is too little memory for all buckets."""
    needed = needed_bytes((model.folder / WEIGHTS_FILE).stat().st_size, on_host, buckets)
    if available is not None and available < needed:
        logger.warning(
            "this model may take %.1f GB of memory for its %d row lengths, and there are %.1f GB: choose fewer "
            "--npu-buckets or a smaller model, or raise MemoryMax= of the worker's unit",
            needed / 1e9,
            buckets,
            available / 1e9,
        )


def is_old(identity: Identity) -> bool:
    """Return whether the driver is older than release 1.24: by its package, else by the time it was built."""
    release = numbers_of((read_packages() or {}).get("intel-level-zero-npu", ""), 2)
    return identity.old_driver if release is None else release < advice.LEAST_RELEASE


def _warn(identity: Identity) -> None:
    if is_old(identity):
        logger.warning(
            "the NPU's driver is older than 1.24 and known to compute some models wrongly; the self-test decides"
        )
