"""The NPU tried out for a report: every bucket compiled, proven and timed."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from ..engine import open_model
from ..model.card import MODEL_FILE
from ..npu.busy_counter import BusyCounter
from ..npu.compiler_process import make_static
from ..npu.device import NpuDevice
from ..npu.platform import Platform
from ..npu.reference_logits import make_rows
from ..npu.settings import NpuSettings
from ..npu.start import make_npu
from ..npu.sysfs import find_npu, frequencies
from ..packing import Run
from ..tokenization import Row
from .flops import count_flop

#: How long each bucket is timed, s.
TIMED_S = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a bucket does: pairs a second with all requests in flight, ms for one alone, and the shares of that.

    ``gops_share`` is of the device's own figure for f16 arithmetic; None where it gives none.
    """

    tokens: int
    pairs_per_second: float
    alone_ms: float
    busy_share: float
    gflop: float
    gops_share: float | None
    mhz: int | None

    def __str__(self) -> str:
        share = "" if self.gops_share is None else f", {self.gops_share:.1%} of DEVICE_GOPS (f16)"
        return (
            f"{self.tokens:>5} tokens  {self.pairs_per_second:8.1f} pairs/s  {self.alone_ms:7.2f} ms alone  "
            f"occupied {self.busy_share:.0%}{share}"
        )


def try_npu(
    folder: Path, settings: NpuSettings, platform: Platform, say: Callable[[str], None], timed_s: float = TIMED_S
) -> dict[str, Any]:
    """Compile, prove and time every bucket; return it all.

    Args:
        folder: A ready model's.
        settings: How to use the NPU.
        platform: The machine.
        say: Takes a line on what is being done.
        timed_s: How long each bucket is timed, s.

    Raises:
        WorkerError: As soon as something fails; says what.
    """
    model, tokenizer = open_model(folder)
    device, loader = make_npu(model, tokenizer, settings, platform, retry=True)
    began = time.monotonic()
    while device.progress():
        loader.load_next(say)
        device.check()
    prepared_s = time.monotonic() - began
    gops = device_gops(platform.make_core())
    timings = []
    for bucket in device.buckets:
        graph = ov.Core().read_model(model.folder / MODEL_FILE)
        make_static(graph, bucket.tokens)
        row = make_rows(tokenizer, bucket.tokens)[-1]
        timing = _time(device, row, bucket.tokens, count_flop(graph), gops, platform, timed_s)
        say(str(timing))
        timings.append(timing)
    details = device.details()
    return {
        "model": {"name": model.card.name, "precision": model.card.precision, "how": model.card.how},
        "npu": details["npu"],
        "device_gops": gops,
        "requests": device.requests,
        "prepared_s": round(prepared_s, 2),
        "buckets": details["buckets"],
        "timings": [asdict(timing) for timing in timings],
    }


def device_gops(core: Any) -> dict[str, float]:
    """Return the device's own figures, 10^9 operations a second by element type; empty if it gives none."""
    try:
        found = core.get_property("NPU", "DEVICE_GOPS")
    except RuntimeError:
        return {}
    return {
        str(kind.to_string() if hasattr(kind, "to_string") else kind): float(value) for kind, value in found.items()
    }


def _time(
    device: NpuDevice, row: Row, tokens: int, flop: float, gops: dict[str, float], platform: Platform, timed_s: float
) -> Timing:
    counter = BusyCounter(platform.sysfs)
    npu = find_npu(platform.sysfs)
    alone = _run(device, row, tokens, timed_s / 4, most=1)
    before, began = counter.read(), time.monotonic()
    rate = _run(device, row, tokens, timed_s, most=device.requests)
    mhz = frequencies(npu).get("current") if npu is not None else None
    rise, seconds = counter.read() - before, time.monotonic() - began
    peak = next((value for name, value in gops.items() if name in {"f16", "float16"} and value > 0), None)
    return Timing(
        tokens,
        round(rate, 2),
        round(1000 / alone, 3),
        round(min(1.0, max(0.0, rise / 1e6 / seconds)), 4),
        round(flop / 1e9, 3),
        None if peak is None else round(rate * flop / 1e9 / peak, 4),
        mhz,
    )


def _run(device: NpuDevice, row: Row, tokens: int, seconds: float, most: int) -> float:
    """Return the rows a second with at most ``most`` in flight."""
    wake = threading.Event()
    began = time.monotonic()
    started = finished = 0
    while time.monotonic() - began < seconds or finished < started or not finished:
        while (time.monotonic() - began < seconds and started - finished < most) or not started:
            if not device.start(Run((0,), tokens), [row], wake.set):
                break
            started += 1
        wake.wait(1.0)
        wake.clear()
        finished += len(device.collect())
        device.check()
    return finished / (time.monotonic() - began)
