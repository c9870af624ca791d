"""What a run showed, as numbers for machines and as a table for people."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .run import Group, Seen


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the least value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]


def rss_mb(pids: dict[str, int | None]) -> dict[str, float]:
    """Return the resident memory of processes of this machine, MB; those that cannot be read are left out."""
    sizes = {}
    for name, pid in pids.items():
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        for line in lines:  # a process that has just ended has no such line
            if line.startswith("VmRSS:"):
                sizes[name] = int(line.split()[1]) / 1024
    return {name: round(megabytes, 1) for name, megabytes in sizes.items()}


def summarise(
    groups: Sequence[Group],
    seen: Sequence[Seen],
    seconds: float,
    before: dict[str, Any],
    after: dict[str, Any],
) -> dict[str, Any]:
    """Return the run's numbers.

    Args:
        groups: Who called.
        seen: Every answer.
        seconds: From the common start to the last answer.
        before: The service's status before the run.
        after: And after it.
    """
    good = [each for each in seen if each.answer.error is None]
    rise = {key: after["counters"][key] - before["counters"][key] for key in after["counters"]}
    batches = max(1, rise["batches"])
    return {
        "pairs_per_s": round(sum(each.group.passages for each in good) / seconds, 2),
        "tokens_per_s": round(sum(each.answer.tokens for each in good) / seconds, 1),
        "seconds": round(seconds, 2),
        "requests": len(seen),
        "errors": dict(Counter(each.answer.error for each in seen if each.answer.error is not None)),
        "pairs_per_batch": round(rise["batch_pairs"] / batches, 2),
        "callers_per_batch": round(rise["batch_callers"] / batches, 2),
        "cached_share": round(rise["cached_pairs"] / max(1, rise["pairs"]), 4),
        "padding_waste": round(1 - rise["tokens"] / max(1, rise["padded_tokens"]), 4),
        "groups": {str(group): _latency([each for each in good if each.group == group]) for group in groups},
    }


def _latency(seen: Sequence[Seen]) -> dict[str, float]:
    if not seen:
        return {}
    times = [each.answer.took_ms for each in seen]
    added = [each.answer.took_ms - each.answer.queue_ms - each.answer.inference_ms for each in seen]
    return {
        "requests": len(seen),
        "p50_ms": round(percentile(times, 0.50), 2),
        "p95_ms": round(percentile(times, 0.95), 2),
        "p99_ms": round(percentile(times, 0.99), 2),
        "added_p50_ms": round(percentile(added, 0.50), 2),
    }


def compare(served: float, packed: float, fixed: float, shape: str) -> dict[str, Any]:
    """Return both ceilings and what the service reached of them.

    Args:
        served: The service's pairs per second.
        packed: The engine's with all pairs known beforehand.
        fixed: The engine's with pairs of the mean length in runs of one shape.
        shape: That shape.
    """
    return {
        "pairs_per_s": round(packed, 2),
        "ratio": round(served / packed, 4),
        "fixed_pairs_per_s": round(fixed, 2),
        "fixed_ratio": round(served / fixed, 4),
        "fixed_shape": shape,
    }


def compare_requests(took: Sequence[tuple[float, float]], floor: Sequence[float]) -> dict[str, float]:
    """Return the medians of a request on the engine alone, of what the service added to it, and of the floor, ms.

    Args:
        took: What each request took the engine alone, and through the service.
        floor: What bare processes that only hand a message on took.
    """
    return {
        "request_p50_ms": round(percentile([alone for alone, _ in took], 0.5), 2),
        "added_p50_ms": round(percentile([served - alone for alone, served in took], 0.5), 2),
        "floor_p50_ms": round(percentile(floor, 0.5), 2),
    }


def table(report: dict[str, Any]) -> str:
    """Return a report as text."""
    lines = [
        f"{report['model']} on {report['device']} ({report['precision']}), {report['target']}",
        f"{report['pairs_per_s']:.1f} pairs/s, {report['tokens_per_s']:.0f} tokens/s "
        f"({report['requests']} requests in {report['seconds']:.1f} s)",
        f"a batch: {report['pairs_per_batch']:.1f} pairs of {report['callers_per_batch']:.1f} callers; "
        f"{report['padding_waste']:.1%} of what the device ran was padding",
        f"{report['cached_share']:.1%} of the pairs came from the score cache",
        "",
        f"{'callers x passages':<20}{'requests':>9}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'added p50':>11}",
    ]
    for name, group in report["groups"].items():
        if group:
            lines.append(
                f"{name:<20}{group['requests']:>9}{group['p50_ms']:>10.1f}{group['p95_ms']:>10.1f}"
                f"{group['p99_ms']:>10.1f}{group['added_p50_ms']:>11.2f}"
            )
    errors = ", ".join(f"{count} {code}" for code, count in report["errors"].items()) or "none"
    lines += ["", f"errors    {errors}"]
    for name, start in report["rss_mb_before"].items():
        lines.append(f"memory    {name}: {start:.0f} MB before, {report['rss_mb_after'].get(name, 0):.0f} MB after")
    if "ceiling" in report:
        ceiling = report["ceiling"]
        lines.append(
            f"ceiling   {ceiling['pairs_per_s']:.1f} pairs/s straight through the engine; "
            f"service / ceiling = {ceiling['ratio']:.3f}"
        )
        lines.append(
            f"fixed     {ceiling['fixed_pairs_per_s']:.1f} pairs/s of the mean length, all in runs of "
            f"{ceiling['fixed_shape']} tokens; service / fixed = {ceiling['fixed_ratio']:.3f}"
        )
        if "request_p50_ms" in ceiling:
            lines.append(
                f"alone     {ceiling['request_p50_ms']:.1f} ms a request straight through the engine (p50); "
                f"the service adds {ceiling['added_p50_ms']:.2f} ms"
            )
            lines.append(
                f"floor     {ceiling['floor_p50_ms']:.2f} ms: three idle Python processes that pass on an empty message"
            )
    return "\n".join(lines)
