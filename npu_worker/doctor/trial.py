"""The NPU tested for a report: every bucket compiled, tested and timed, also after one has failed."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import openvino as ov

from ..engine import open_model
from ..errors import CompileFailed, DeviceLost, DeviceUnavailable, WorkerError, WrongLogits
from ..model.card import MODEL_FILE, ModelCard
from ..npu.bucket_builder import Unobtainable
from ..npu.busy_counter import BusyCounter
from ..npu.compiled_bucket import CompiledBucket
from ..npu.host_embeddings import make_static
from ..npu.platform import Platform
from ..npu.reference_logits import make_rows
from ..npu.self_test import TOLERANCE
from ..npu.settings import NpuSettings
from ..npu.start import make_npu
from ..tokenization import Row
from .flops import count_flop
from .timing import FrequencySampler, measure_rate

#: How long each bucket is timed, s.
TIMED_S = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a bucket does: pairs a second with all requests in flight, ms for one alone, and the shares of that.

    ``gops_share`` is of the device's own figure for f16 arithmetic; None where it gives none.
    """

    pairs_per_second: float
    alone_ms: float
    busy_share: float
    gflop: float
    gops_share: float | None
    mhz: int | None

    def __str__(self) -> str:
        share = "" if self.gops_share is None else f", {self.gops_share:.1%} of DEVICE_GOPS (f16)"
        rate = f"{self.pairs_per_second:.1f} pairs/s, {self.alone_ms:.2f} ms alone"
        return f"{rate}, occupied {self.busy_share:.0%}{share}"


@dataclass(slots=True)
class BucketTrial:
    """The result of one bucket.

    Attributes:
        tokens: The bucket.
        seconds: How long it took to get it ready, or to fail.
        error: Why it is not ready; empty if it is.
        status: The worker's exit status for that.
        logits: What it returned for the fixed pairs: a relevant and an irrelevant short one, then two that fill it.
        expected: The correct logits.
        worst: The largest error.
        spread: How far apart the relevant and the irrelevant short pair should be: an error means little beside it.
        resident_mb: Memory of this process afterwards, MB.
        timing: Its speed.
    """

    tokens: int
    seconds: float = 0.0
    error: str = ""
    status: int | None = None
    logits: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    worst: float | None = None
    spread: float | None = None
    resident_mb: float | None = None
    timing: Timing | None = None

    def compare(self, logits: list[float], expected: list[float]) -> None:
        """Compare what it returned with the correct logits."""
        self.logits = [round(logit, 5) for logit in logits]
        self.expected = [round(logit, 5) for logit in expected]
        if logits:
            self.worst = max(abs(logit - right) for logit, right in zip(logits, expected, strict=True))
            self.spread = abs(expected[0] - expected[1])


def try_npu(
    folder: Path, settings: NpuSettings, platform: Platform, say: Callable[[str], None], timed_s: float = TIMED_S
) -> dict[str, Any]:
    """Compile, test and time every bucket; return it all, with the status of the first that failed.

    Args:
        folder: A ready model's.
        settings: How to use the NPU.
        platform: The machine.
        say: Called with a line on what is being done.
        timed_s: How long each bucket is timed, s.

    Raises:
        DeviceUnavailable: There is no NPU, or its packages do not fit each other: that is about no bucket.
        ModelUnusable: The model is not usable.
    """
    model, tokenizer = open_model(folder)
    device, builder, _ = make_npu(model, tokenizer, settings, platform, retry=True)
    gops = device_gops(platform.make_core())
    kept, trials = [], []
    for tokens in reversed(device.wanted):
        say(f"{tokens} tokens: compiling and testing")
        trial = BucketTrial(tokens)
        trials.append(trial)
        began = time.monotonic()
        try:
            bucket, result = builder.build(tokens)
        except DeviceUnavailable:
            raise
        except (Unobtainable, WorkerError) as error:
            trial.error = str(error)
            trial.status = error.status if isinstance(error, WorkerError) else CompileFailed.status
            if isinstance(error, WrongLogits):
                trial.compare(error.logits, error.expected)
            say(f"{tokens} tokens: {error}")
            continue
        finally:
            trial.seconds = round(time.monotonic() - began, 2)
            trial.resident_mb = _resident_mb()
        kept.append(bucket)  # all together in memory, as in the service
        trial.compare(list(result.logits), list(result.expected))
        graph = ov.Core().read_model(model.folder / MODEL_FILE)
        make_static(graph, tokens)
        row = make_rows(tokenizer, tokens)[-1]
        try:
            trial.timing = _time(bucket, row, count_flop(graph), gops, platform, timed_s)
            say(f"{tokens} tokens: {trial.timing}")
        except (RuntimeError, ArithmeticError) as error:
            trial.error, trial.status = f"while it was timed: {error}", DeviceLost.status
            say(f"{tokens} tokens: {trial.error}")
    statuses = [trial.status for trial in trials if trial.status is not None]
    return {
        "model": {
            "name": public_name(model.card),
            "precision": model.card.precision,
            "how": model.card.how,
            "layers": model.card.layers,
            "size_mb": round(model.size / 1e6, 1),
        },
        "npu": device.details()["npu"],
        "device_gops": gops,
        "requests": device.requests,
        "tolerance": TOLERANCE[model.card.precision],
        "status": statuses[0] if statuses else 0,
        "buckets": [asdict(trial) for trial in trials],
    }


def public_name(card: ModelCard) -> str:
    """Return a model's name, unless it is that of a folder of the user's."""
    return "a model of one's own" if Path(card.source).is_absolute() else card.name


def device_gops(core: Any) -> dict[str, float]:
    """Return the device's own figures, 10^9 operations a second by element type; empty if it gives none."""
    try:
        gops = core.get_property("NPU", "DEVICE_GOPS")
    except RuntimeError:
        return {}
    return {str(kind.to_string() if hasattr(kind, "to_string") else kind): float(value) for kind, value in gops.items()}


def _time(
    bucket: CompiledBucket, row: Row, flop: float, gops: dict[str, float], platform: Platform, timed_s: float
) -> Timing:
    counter = BusyCounter(platform.sysfs)
    alone = measure_rate(bucket, row, 1, timed_s / 4)
    with FrequencySampler(platform.sysfs) as frequency:
        before, began = counter.read(), time.monotonic()
        rate = measure_rate(bucket, row, len(bucket.free), timed_s)
        rise, seconds = counter.read() - before, time.monotonic() - began
    peak = next((value for name, value in gops.items() if name in {"f16", "float16"} and value > 0), None)
    return Timing(
        round(rate, 2),
        round(1000 / alone, 3),
        round(min(1.0, max(0.0, rise / 1e6 / seconds)), 4),
        round(flop / 1e9, 3),
        None if peak is None else round(rate * flop / 1e9 / peak, 4),
        frequency.highest,
    )


def _resident_mb() -> float | None:
    """Return this process's resident memory, MB."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), None)
    return None if kilobytes is None else round(int(kilobytes) / 1024, 1)
