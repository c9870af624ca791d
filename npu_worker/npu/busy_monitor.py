"""Proof in service: how far the busy-time counter rose for each batch, and that it does rise.

A batch's rise goes from a reading before it began to one after it ended. The counter may be read 20 times a
second, so batches that end closer together than that wait for one reading together.
"""

import logging
from dataclasses import dataclass
from typing import Any

from ..errors import CounterStalled
from . import advice
from .busy_counter import BusyCounter

logger = logging.getLogger("openvino_reranker.worker")

#: This many batches in a row without any rise are too many; more than one, since no hardware has shown yet how soon
#: the counter reports a job.
MAX_BATCHES_WITHOUT_RISE = 8


@dataclass(slots=True)
class _OpenBatch:
    """A batch between its beginning and its answer; ``total`` as it was when it began."""

    batch: int
    total: int
    resets: int
    ended: bool = False
    worked: bool = True


@dataclass(slots=True)
class Tally:
    """What the counter did since the worker began: its rise, µs, and how often it jumped back."""

    total: int = 0
    resets: int = 0
    last: int = 0
    began: float = 0.0
    seen: float = 0.0

    def note(self, value: int, now: float) -> None:
        """Take a reading. One below the last means that the driver was reloaded and counts from 0."""
        if value < self.last:
            logger.warning(
                "the NPU's busy time jumped back from %d to %d us: its driver was reloaded", self.last, value
            )
            self.resets += 1
            self.total += value
        else:
            self.total += value - self.last
        self.last = value
        self.seen = now

    @property
    def share(self) -> float:
        """The part of the wall time in which the NPU had something to do, 0 to 1."""
        return min(1.0, self.total / 1e6 / (self.seen - self.began)) if self.seen > self.began else 0.0


class BusyMonitor:
    """Watches the counter for the batches of one worker.

    Args:
        counter: The counter.
        now: The time, s (monotonic).
        most_without_rise: How many batches in a row without any rise are too many.
    """

    def __init__(self, counter: BusyCounter, now: float, most_without_rise: int = MAX_BATCHES_WITHOUT_RISE) -> None:
        self._counter = counter
        self._most_without_rise = most_without_rise
        self._tally = Tally(last=counter.read(), began=now, seen=now)
        self._open: list[_OpenBatch] = []
        self._still = 0

    @property
    def idle(self) -> bool:
        """Whether no batch is between its beginning and its answer."""
        return not self._open

    @property
    def total_us(self) -> int:
        """How far the counter has risen since the worker began, µs, at the last reading."""
        return self._tally.total

    def begin(self, batch: int) -> None:
        """Note that a batch goes to the device."""
        self._open.append(_OpenBatch(batch, self._tally.total, self._tally.resets))

    def end(self, batch: int, *, worked: bool) -> None:
        """Note that a batch has ended; ``worked`` says whether it needed the device at all."""
        for each in self._open:
            if each.batch == batch:
                each.ended, each.worked = True, worked

    def drop(self, batch: int) -> None:
        """Forget a batch that failed on the device: it proves nothing."""
        self._open = [each for each in self._open if each.batch != batch]

    def forget(self) -> None:
        """Forget all batches."""
        self._open.clear()

    def settle(self, now: float) -> list[tuple[int, int]]:
        """Return the batches that have ended, each with its rise, µs; none while no reading is allowed.

        Raises:
            CounterStalled: The last ``most_without_rise`` batches had no rise.
            CounterLost: The counter cannot be read any more.
        """
        ended = [each for each in self._open if each.ended]
        if not ended or not self._look(now):
            return []
        self._open = [each for each in self._open if not each.ended]
        settled = []
        for each in ended:
            rise = self._tally.total - each.total
            settled.append((each.batch, rise))
            if rise > 0:
                self._still = 0
            elif each.worked and each.resets == self._tally.resets:
                self._still += 1
        if self._still >= self._most_without_rise:
            raise CounterStalled(
                f"{self._counter.path} stood still at {self._tally.last} us over {self._still} batches that the NPU "
                f"reports as done: its work is no longer proven; {advice.RELOAD}"
            )
        return settled

    def look_if_idle(self, now: float) -> None:
        """Take a reading while no batch is open, so that the next batch's rise includes little of the time before."""
        if not self._open:
            self._look(now)

    def due_in(self, now: float) -> float | None:
        """Return when ``settle`` has something to do, s from now; None if nothing has ended."""
        return self._counter.due_in(now) if any(each.ended for each in self._open) else None

    def details(self) -> dict[str, Any]:
        """Return what status pages show: the rise so far, and the share of wall time it is; all of the device's."""
        tally = self._tally
        return {
            "npu_busy_us": tally.total,
            "npu_occupied_share": round(tally.share, 4),
            "npu_counter_resets": tally.resets,
            "npu_batches_without_rise": self._still,
        }

    def _look(self, now: float) -> bool:
        value = self._counter.try_read(now)
        if value is None:
            return False
        self._tally.note(value, now)
        return True
