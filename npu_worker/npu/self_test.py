"""The self-test of a bucket: read the busy-time counter, score fixed pairs, read it again. Both must be right.

Compiling without an error is no sign of correctness: drivers before 1.24 are known to compute wrong numbers for some
models without a word.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CounterStill, DeviceLost, WrongLogits
from ..tokenization import Row
from . import advice
from .busy_counter import BusyCounter
from .compiled_bucket import CompiledBucket
from .error_messages import Doing, translate

#: How far a logit may be off: arithmetic in fp16, and in int8.
TOLERANCE = {"fp16": 0.1, "int8": 0.5}
_WHAT_TO_DO = (
    f"{advice.UPDATE}, try --npu-options EXECUTION_MODE_HINT=ACCURACY, and {advice.REPORT}, which goes on with the "
    "other row lengths"
)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a bucket's self-test measured.

    Attributes:
        tokens: The bucket.
        rise_us: How far the counter rose, µs.
        worst: The largest error of a logit.
        rows_per_second: Rows a second, one after the other.
        logits: What the device returned for the fixed pairs.
        expected: The logits in f32.
    """

    tokens: int
    rise_us: int
    worst: float
    rows_per_second: float
    logits: Sequence[float] = ()
    expected: Sequence[float] = ()


def self_test(
    bucket: CompiledBucket, rows: Sequence[Row], expected: Sequence[float], precision: str, counter: BusyCounter
) -> SelfTest:
    """Score fixed rows with a bucket, on each of its requests, and judge logits and busy time.

    Args:
        bucket: The bucket; nothing else may use its requests meanwhile.
        rows: Rows that fit it.
        expected: Their logits in f32.
        precision: Of the weights: ``fp16`` or ``int8``.
        counter: The NPU's busy time.

    Raises:
        CounterStill: It did not rise.
        CounterLost: It cannot be read any more.
        WrongLogits: A logit is off, NaN or infinite, or in another order.
        DeviceLost: The device failed, or its driver was reloaded.
    """
    before = counter.read()
    began = time.monotonic()
    try:
        logits = bucket.infer_on_each(rows)
    except ArithmeticError as error:
        raise WrongLogits(f"the self-test of {bucket.tokens} tokens failed: {error}; {_WHAT_TO_DO}") from error
    except RuntimeError as error:
        raise translate(str(error), Doing.RUNNING, f"the self-test of {bucket.tokens} tokens", DeviceLost) from error
    seconds = time.monotonic() - began
    after = counter.read()
    worst = check_logits(bucket.tokens, logits, expected, TOLERANCE[precision])
    check_rise(bucket.tokens, counter.path, before, after)
    rate = max(len(rows), len(bucket.free)) / seconds
    return SelfTest(bucket.tokens, after - before, worst, rate, logits, expected)


def check_rise(tokens: int, path: Path, before: int, after: int) -> None:
    """Check that the counter rose.

    Raises:
        CounterStill: It stayed where it was.
        DeviceLost: It fell: the driver was reloaded.
    """
    if after < before:
        raise DeviceLost(
            f"{path} fell from {before} to {after} during the self-test of {tokens} tokens: the driver was reloaded"
        )
    if after == before:
        raise CounterStill(
            f"{path} stayed at {before} us during the self-test of {tokens} tokens: something answered, but it was "
            "not this NPU. See 'openvino-reranker doctor' for the driver (1.24 or newer), the kernel (6.11 or newer), "
            f"the device's group and other processes on the NPU, and {advice.RELOAD}"
        )


def check_logits(tokens: int, logits: Sequence[float], expected: Sequence[float], tolerance: float) -> float:
    """Return the largest error of a logit.

    Raises:
        WrongLogits: One is NaN or infinite, or further off than ``tolerance``, or two that should be further apart
            than that are the other way round.
    """
    what = f"the NPU returned {_numbers(logits)} instead of {_numbers(expected)} in the self-test of {tokens} tokens"

    def wrong(how: str) -> WrongLogits:
        return WrongLogits(f"{what}: {how}; {_WHAT_TO_DO}", logits, expected)

    if not all(map(math.isfinite, logits)):
        raise wrong("NaN or infinite")
    errors = [abs(logit - right) for logit, right in zip(logits, expected, strict=True)]
    worst = max(errors)
    if not all(error <= tolerance for error in errors):  # so that a NaN among them does not pass
        raise wrong(f"{worst:.3f} off, at most {tolerance} is allowed")
    pairs = list(zip(logits, expected, strict=True))
    for logit, right in pairs:
        if any(right - other_right > tolerance and logit <= other for other, other_right in pairs):
            raise wrong("in another order")
    return worst


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"
