"""Answers on their way to the broker: where busy time is monitored, each waits until its batch's rise is known."""

from collections.abc import Iterable, Iterator

from ..protocol.worker_messages import BatchFailed, BatchResult
from .job import Job
from .npu.busy_monitor import BusyMonitor


class PendingAnswers:
    """The answers of jobs between their end and their proof; without a monitor none is held back.

    Args:
        monitor: What proves that the device works, where there is such a thing.
    """

    def __init__(self, monitor: BusyMonitor | None) -> None:
        self._monitor = monitor
        self._ended: dict[int, Job] = {}  # by batch number

    @property
    def idle(self) -> bool:
        """Whether every job that began is answered or forgotten."""
        return self._monitor is None or self._monitor.idle

    def begin(self, job: Job) -> None:
        """Note that a job goes to the device."""
        if self._monitor is not None:
            self._monitor.begin(job.number)

    def take(self, done: Iterable[Job], now: float) -> Iterator[BatchResult | BatchFailed]:
        """Yield the answers that may be sent, given the jobs that are done; ``forget`` in between drops the rest.

        Raises:
            WorkerError: The busy time stood still or cannot be read: there is no proof any more.
        """
        monitor = self._monitor
        if monitor is None:
            yield from (job.answer(None) for job in done)
            return
        failed = []
        for job in done:
            if job.failed:
                monitor.drop(job.number)
                failed.append(job)
            else:
                monitor.end(job.number, worked=job.worked)
                self._ended[job.number] = job
        yield from (job.answer(None) for job in failed)
        for number, rise_us in monitor.settle(now):
            if (ended := self._ended.pop(number, None)) is not None:
                yield ended.answer(rise_us, monitor.total_us)

    def forget(self) -> None:
        """Forget all jobs: nobody waits for their answers."""
        self._ended.clear()
        if self._monitor is not None:
            self._monitor.forget()

    def look_if_idle(self, now: float) -> None:
        """Read the busy time while no job is open."""
        if self._monitor is not None:
            self._monitor.look_if_idle(now)

    def due_in(self, now: float) -> float | None:
        """Return when ``take`` has something to do, s from now; None if no answer is held back."""
        return None if self._monitor is None else self._monitor.due_in(now)
