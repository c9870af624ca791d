"""Which options of the NPU's plugin are fastest here: a few tried on two row lengths, each in a child process."""

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..engine import open_model
from ..model.card import MODEL_FILE
from ..npu.compiler import CompilerDied, ask_child
from ..npu.platform import Platform, read_property
from ..npu.reference_logits import Reference, make_rows
from ..npu.self_test import TOLERANCE
from ..npu.settings import NpuSettings
from ..npu.start import choose_options
from . import sweep_process
from .sweep_process import Measured, SweepOrder
from .timing import FrequencySampler

#: Row lengths that are tried: what most passages of retrieval have, and the longest.
LENGTHS = (128, 512)
IN_FLIGHT = (1, 2, 4, 8)
#: How long each number in flight is timed, s, and how long everything but compiling may take.
TIMED_S, OVERHEAD_S = 1.5, 90.0
#: The least gain worth changing a setting for.
_WORTH = 1.05


@dataclass(frozen=True, slots=True)
class Variant:
    """A set of options: its name, and how it differs from what is set now."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Try:
    """A variant's result on a row length; ``rates`` is pairs a second by rows in flight."""

    variant: str
    tokens: int
    options: dict[str, str]
    rates: dict[int, float] = field(default_factory=dict)
    compile_s: float | None = None
    blob_mb: float | None = None
    worst: float | None = None
    mhz: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Best:
    """The setting to recommend: with it pairs/s are this many times those of the present one."""

    variant: str
    options: dict[str, str]
    in_flight: int
    factor: float


def variants(tiles: int | None) -> list[Variant]:
    """Return what is tried; what is set now comes first.

    Args:
        tiles: How many compute tiles the device has; None if it does not say.
    """
    mode = "NPU_COMPILATION_MODE_PARAMS"
    found = [
        Variant("as set"),
        Variant("throughput", {"PERFORMANCE_HINT": "THROUGHPUT"}),
        Variant("latency", {"PERFORMANCE_HINT": "LATENCY"}),
        Variant(
            "throughput, compiled for all tiles",
            {"PERFORMANCE_HINT": "THROUGHPUT", mode: "performance-hint-override=latency"},
        ),
        Variant("optimization level 2", {mode: "optimization-level=2"}),
        Variant("turbo", {"NPU_TURBO": "YES"}),
        Variant("latency, turbo", {"PERFORMANCE_HINT": "LATENCY", "NPU_TURBO": "YES"}),
        Variant("accuracy", {"EXECUTION_MODE_HINT": "ACCURACY"}),
    ]
    if tiles is not None and tiles > 1:
        found.insert(4, Variant(f"{tiles} tiles", {"NPU_TILES": str(tiles)}))
    return found


def sweep(folder: Path, settings: NpuSettings, platform: Platform, say: Callable[[str], None]) -> dict[str, Any]:
    """Try every variant on each length; return all tries and the best setting, if there is one.

    Args:
        folder: A ready model's.
        settings: What is set now.
        platform: The machine.
        say: Called with a line of progress.

    Raises:
        WorkerError: There is no NPU, or no model.
    """
    model, tokenizer = open_model(folder)
    core = platform.make_core()
    platform.identify(core)
    base = choose_options(core, settings, platform)
    tiles = read_property(core, "NPU_MAX_TILES", "NPU")
    plan = variants(int(tiles) if tiles and tiles.isdecimal() else None)
    lengths = sorted({min(tokens, model.card.max_length) for tokens in LENGTHS})
    reference = Reference(model.folder / MODEL_FILE, settings.cache / "sweep-reference.json")
    tries = []
    total = len(plan) * len(lengths)
    for variant in plan:
        for tokens in lengths:
            rows = make_rows(tokenizer, tokens)
            order = SweepOrder(
                str(model.folder / MODEL_FILE),
                tokens,
                base | dict(variant.options),
                [(row.ids, row.types) for row in rows],
                reference.of(rows),
                list(IN_FLIGHT),
                TIMED_S,
                os.getpid(),
            )
            tries.append(_try(variant, order, settings.compile_limit_s + OVERHEAD_S, platform))
            say(f"[{len(tries)}/{total}] {describe(tries[-1])}")
    found = best(tries, TOLERANCE[model.card.precision])
    return {"tries": [asdict(each) for each in tries], "best": None if found is None else asdict(found)}


def describe(each: Try) -> str:
    """Return a line on a try."""
    head = f"{each.tokens} tokens, {each.variant}"
    if each.error:
        return f"{head}: {each.error}"
    number, rate = max(each.rates.items(), key=lambda item: item[1])
    return f"{head}: {rate:.1f} pairs/s with {number} in flight, compiled in {each.compile_s:.1f} s"


def best(tries: Sequence[Try], tolerance: float) -> Best | None:
    """Return the setting that makes the most pairs/s over all lengths, or None if none is worth a change.

    A variant counts only if it worked on every length and its logits are right. Lengths weigh the same: the factors
    by which each got faster are multiplied.

    Args:
        tries: All of them; those of the variant that is tried first are what the others are compared with.
        tolerance: The largest error of a logit.
    """
    good = [each for each in tries if not each.error and each.worst is not None and each.worst <= tolerance]
    lengths = {each.tokens for each in tries}
    now = {each.tokens: max(each.rates.values()) for each in good if each.variant == tries[0].variant}
    if now.keys() != lengths:
        return None
    candidates = []
    for variant in dict.fromkeys(each.variant for each in good):
        by_length = {each.tokens: each for each in good if each.variant == variant}
        if by_length.keys() != lengths:
            continue
        for number in set.intersection(*(set(each.rates) for each in by_length.values())):
            factor = math.prod(by_length[tokens].rates[number] / now[tokens] for tokens in lengths) ** (
                1 / len(lengths)
            )
            options = next(iter(by_length.values())).options
            candidates.append(Best(variant, options, number, round(factor, 3)))
    winner = max(candidates, key=lambda candidate: (candidate.factor, -candidate.in_flight), default=None)
    return winner if winner is not None and winner.factor >= _WORTH else None


def _try(variant: Variant, order: SweepOrder, limit_s: float, platform: Platform) -> Try:
    command = (sys.executable, "-P", "-m", sweep_process.__name__)
    try:
        with FrequencySampler(platform.sysfs) as frequency:
            measured = ask_child(command, order, Measured, limit_s)
    except CompilerDied as died:
        return Try(variant.name, order.tokens, dict(variant.options), error=str(died))
    return Try(
        variant.name,
        order.tokens,
        dict(variant.options),
        measured.rates,
        round(measured.compile_s, 2),
        None if measured.blob_bytes is None else round(measured.blob_bytes / 1e6, 1),
        measured.worst,
        frequency.highest,
        measured.error,
    )
