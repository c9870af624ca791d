"""Recent activity, from successive statuses of the service: the figures that every status view shows."""

from collections import deque
from dataclasses import dataclass

from ..protocol.status_messages import Status

#: Rates are taken over this time, s: counters rise when a batch ends, which on a slow device is after a second.
WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Activity:
    """Rates and means over the time between two looks; None where nothing happened that has one.

    Attributes:
        pairs: Pairs given to the device, a second.
        tokens: Tokens the model read, a second.
        device: Share of the time in which the device worked, 0..1: by the NPU driver's busy counter on the NPU
            (device-wide), else by the time batches took.
        queue_ms: Mean time from arrival to first start, of the requests answered, ms.
        batch_pairs: Pairs a batch.
        batch_callers: Callers a batch.
        padding: Share of what the device ran that no text needed, 0..1.
    """

    pairs: float
    tokens: float
    device: float
    queue_ms: float | None
    batch_pairs: float | None
    batch_callers: float | None
    padding: float | None


def activity_between(before: Status, now: Status) -> Activity | None:
    """Return what was done between two looks at one broker; None where no time has passed."""
    if now.uptime_s <= before.uptime_s:
        return None
    seconds = now.uptime_s - before.uptime_s

    def rise(name: str) -> float:
        return now.counters[name] - before.counters[name]

    def mean(total: str, count: str) -> float | None:
        return rise(total) / rise(count) if rise(count) else None

    worked_s = rise("npu_busy_us") / 1e6 if now.worker.device == "NPU" else rise("inference_ms") / 1e3
    read = mean("tokens", "padded_tokens")
    return Activity(
        pairs=rise("batch_pairs") / seconds,
        tokens=rise("tokens") / seconds,
        device=min(1.0, worked_s / seconds),  # batches may overlap, and are counted when they end
        queue_ms=mean("queue_ms", "answered"),
        batch_pairs=mean("batch_pairs", "batches"),
        batch_callers=mean("batch_callers", "batches"),
        padding=None if read is None else 1 - read,
    )


class RecentActivity:
    """Looks at one service, and what it did over the last ``WINDOW_S``, or since the look before if that is longer."""

    def __init__(self) -> None:
        self._looks: deque[Status] = deque()

    def note(self, look: Status) -> Activity | None:
        """Take one more look; return what was done, or None if it is the first one at its broker."""
        if self._looks and self._looks[-1].epoch != look.epoch:
            self._looks.clear()
        self._looks.append(look)
        while len(self._looks) > 2 and self._looks[1].uptime_s <= look.uptime_s - WINDOW_S:
            self._looks.popleft()
        return activity_between(self._looks[0], look)

    def forget(self) -> None:
        """Start over: the service was unavailable."""
        self._looks.clear()
