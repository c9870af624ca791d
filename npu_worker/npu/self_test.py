"""Proof at the start: read the counter, score fixed pairs, read it again. Both must be right.

Compiling without an error is no sign of correctness: drivers before 1.24 are known to compute another model's
worth of wrong numbers without a word.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CounterStill, DeviceLost, WrongLogits
from ..tokenization import Row
from .busy_counter import BusyCounter
from .compiled_bucket import CompiledBucket
from .error_messages import translate

#: How far a logit may be off: arithmetic in fp16, and in int8.
TOLERANCE = {"fp16": 0.1, "int8": 0.5}
_WHAT_TO_DO = (
    "update Intel's NPU driver (1.24 or newer) and its compiler of the same release, remove the compiled models in "
    "the cache, and send us the report of 'openvino-reranker doctor --npu'"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a bucket proved: the counter's rise, µs; the worst logit's error; rows a second, one after the other."""

    tokens: int
    rise_us: int
    worst: float
    rows_per_second: float


def prove(
    bucket: CompiledBucket, rows: Sequence[Row], expected: Sequence[float], precision: str, counter: BusyCounter
) -> Proof:
    """Put a bucket to the test.

    Args:
        bucket: The bucket; nothing else may use its requests meanwhile.
        rows: Rows that fit it.
        expected: Their logits in f32.
        precision: Of the weights: ``fp16`` or ``int8``.
        counter: The NPU's busy time.

    Raises:
        CounterStill: It did not rise.
        CounterLost: It cannot be read any more.
        WrongLogits: A logit is off, not finite, or in another order.
        DeviceLost: The device failed, or its driver was loaded anew.
    """
    before = counter.read()
    began = time.monotonic()
    try:
        logits = bucket.infer_on_each(rows)
    except ArithmeticError as error:
        raise WrongLogits(f"the self-test of {bucket.tokens} tokens failed: {error}; {_WHAT_TO_DO}") from error
    except RuntimeError as error:
        raise DeviceLost(str(translate(str(error), f"the self-test of {bucket.tokens} tokens", DeviceLost))) from error
    seconds = time.monotonic() - began
    after = counter.read()
    worst = check_logits(bucket.tokens, logits, expected, TOLERANCE[precision])
    check_rise(bucket.tokens, counter.path, before, after)
    return Proof(bucket.tokens, after - before, worst, max(len(rows), len(bucket.free)) / seconds)


def check_rise(tokens: int, path: Path, before: int, after: int) -> None:
    """Raise unless the counter rose."""
    if after < before:
        raise DeviceLost(
            f"{path} fell from {before} to {after} during the self-test of {tokens} tokens: the driver was loaded anew"
        )
    if after == before:
        raise CounterStill(
            f"{path} stayed at {before} us during the self-test of {tokens} tokens: something answered, but it was "
            "not this NPU. See 'openvino-reranker doctor' for the driver (1.24 or newer), the kernel (6.11 or newer), "
            "the group render and other processes on the NPU, and reload the driver intel_vpu"
        )


def check_logits(tokens: int, logits: Sequence[float], expected: Sequence[float], tolerance: float) -> float:
    """Return how far the worst logit is off.

    Raises:
        WrongLogits: One is not finite or further off than ``tolerance``, or two that should be further apart than
            that are the other way round.
    """
    told = f"the NPU answers the self-test of {tokens} tokens"
    shown = f"{_numbers(logits)} instead of {_numbers(expected)}"
    if not all(map(math.isfinite, logits)):
        raise WrongLogits(f"{told} with {shown}: not all are finite numbers; {_WHAT_TO_DO}")
    off = [abs(logit - right) for logit, right in zip(logits, expected, strict=True)]
    worst = max(off)
    if not all(each <= tolerance for each in off):  # so that a NaN among them is no proof
        raise WrongLogits(f"{told} with {shown}: {worst:.3f} off, at most {tolerance} is right; {_WHAT_TO_DO}")
    pairs = list(zip(logits, expected, strict=True))
    for logit, right in pairs:
        if any(right - other_right > tolerance and logit <= other for other, other_right in pairs):
            raise WrongLogits(f"{told} with {shown}: in another order; {_WHAT_TO_DO}")
    return worst


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"
