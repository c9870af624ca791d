"""From a ready model to an NPU that has proven its longest bucket and gets the shorter ones ready in a thread."""

import logging
import time
from dataclasses import asdict
from typing import Any

from ..errors import DeviceUnavailable
from ..model.card import MODEL_FILE
from ..model.store import ReadyModel
from ..tokenization import PairTokenizer
from .blob_cache import BlobCache
from .bucket_loader import BucketLoader, Say
from .bucket_plan import clip
from .busy_counter import BusyCounter
from .busy_monitor import BusyMonitor
from .device import NpuDevice
from .error_messages import translate
from .platform import Identity, Platform
from .plugin_options import openvino_libraries, split_supported, wanted_options
from .reference_logits import Reference
from .settings import NpuSettings

logger = logging.getLogger("openvino_reranker.worker")


def start_npu(
    model: ReadyModel, tokenizer: PairTokenizer, settings: NpuSettings, platform: Platform, say: Say
) -> NpuDevice:
    """Return the NPU with its longest bucket proven; shorter ones follow in a thread.

    Raises:
        DeviceUnavailable: It is not there, not accessible, or not an NPU.
        NotProven: It does not work, or not rightly.
        CompileFailed: Nothing can be compiled.
    """
    device, loader = make_npu(model, tokenizer, settings, platform)
    loader.load_next(say)
    loader.load_rest_in_background()
    return device


def make_npu(
    model: ReadyModel, tokenizer: PairTokenizer, settings: NpuSettings, platform: Platform, *, retry: bool = False
) -> tuple[NpuDevice, BucketLoader]:
    """Return the NPU without any bucket yet, and what loads them. Raises as ``start_npu``."""
    try:
        core = platform.make_core()
        identity = platform.identify(core)
        options = choose_options(core, settings, platform)
    except RuntimeError as error:
        raise translate(str(error), "asking OpenVINO what it is", DeviceUnavailable) from error
    _warn(identity)
    counter = BusyCounter(platform.sysfs)
    cache = BlobCache(settings.cache, model.card, identity, options)
    device = NpuDevice(
        clip(settings.buckets, model.card.max_length),
        settings.requests,
        "int8" if model.card.precision == "int8" else "f16",
        BusyMonitor(counter, time.monotonic()),
        {**asdict(identity), "options": options},
    )
    loader = BucketLoader(
        device,
        model.folder / MODEL_FILE,
        model.card.precision,
        tokenizer,
        core,
        platform,
        options,
        cache,
        Reference(model.folder / MODEL_FILE, settings.cache / f"{cache.model[:16]}-reference.json"),
        counter,
        settings.compile_limit_s,
        retry=retry,
    )
    return device, loader


def choose_options(core: Any, settings: NpuSettings, platform: Platform) -> dict[str, str]:
    """Return what the plugin is told: what is wanted as far as it knows it."""
    supported = core.get_property("NPU", "SUPPORTED_PROPERTIES")
    options, dropped = split_supported(wanted_options(settings, openvino_libraries()), supported)
    if dropped:
        logger.warning("this NPU's plugin does not know %s: left out", ", ".join(dropped))
    return options | dict(platform.forced_options)


def _warn(identity: Identity) -> None:
    if identity.old_driver:
        logger.warning(
            "the NPU's driver is older than 1.24 and known to compute some models wrongly; the self-test decides"
        )
