"""How much memory the compiled buckets of a model take, and how much is available."""

from pathlib import Path

#: What the worker takes beside them, bytes: 230 to 350 MB were measured, and compiling wants some.
_BESIDE = 500_000_000


def needed_bytes(weights: int, on_host: int, buckets: int) -> int:
    """Estimate the worker's memory: each bucket holds all weights, once in the plugin and once in the driver.

    An NPU of the 40xx generation or later needs only one of the two; a 37xx needs both.

    Args:
        weights: Of the model, bytes.
        on_host: What of them no compiled model holds, bytes.
        buckets: How many there are.
    """
    return _BESIDE + 2 * buckets * (weights - on_host)


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how much memory this process may still take: of the machine, and of its control groups; None if unknown.

    Args:
        proc: Where proc is.
        cgroup: Where the control groups (version 2) are.
    """
    limits = [int(line.split()[1]) * 1024 for line in _lines(proc / "meminfo") if line.startswith("MemAvailable:")]
    for line in _lines(proc / "self" / "cgroup"):
        if line.startswith("0::/"):
            own = cgroup / line[4:]
            for group in (own, *own.parents):
                if not group.is_relative_to(cgroup):
                    break
                most, now = (next(iter(_lines(group / f"memory.{name}")), "") for name in ("max", "current"))
                if most.isdecimal() and now.isdecimal():
                    limits.append(max(0, int(most) - int(now)))
    return min(limits, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
