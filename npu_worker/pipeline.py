"""Jobs in order through the device: what starts next, what has finished, and when to ask for more.

No socket in here; time is a parameter.
"""

from collections import deque

from .device import Device, Wake
from .job import Job
from .packing import Run

#: Ask for the next batch when the device will be free in so many ms: enough to fetch and tokenize it.
LEAD_MS = 15.0
#: Weight of the newest run in the running mean of the device's rate.
_NEWEST = 0.2


class Pipeline:
    """Feeds a device with the runs of jobs, first come, first served."""

    def __init__(self, device: Device, wake: Wake) -> None:
        self._device = device
        self._wake = wake
        self._jobs: deque[Job] = deque()
        self._running: dict[Run, tuple[Job, float]] = {}
        self._last_end = 0.0
        self._tokens_per_ms: float | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._jobs

    def add(self, job: Job, now: float) -> None:
        """Take a job; its runs start as soon as the device has room."""
        self._jobs.append(job)
        self._start_runs(now)

    def abandon(self) -> None:
        """Forget all jobs; runs on the device end unheard."""
        self._jobs.clear()
        for job, _ in self._running.values():
            job.to_start.clear()

    def advance(self, now: float) -> list[Job]:
        """Collect what has finished, start what can; return the jobs that are done, in order."""
        for finished in self._device.collect():
            job, started = self._running.pop(finished.run)
            seconds = finished.ended - max(started, self._last_end)
            self._last_end = finished.ended
            job.finish(finished, seconds)
            self._learn(finished.run.padded_tokens, seconds * 1000)
        self._start_runs(now)
        done = []
        while self._jobs and self._jobs[0].done:
            done.append(self._jobs.popleft())
        return done

    def stalled_ms(self, now: float) -> float:
        """Return for how long the device has held a run and finished none, ms; 0 when it holds none."""
        if not self._running:
            return 0.0
        oldest = min(started for _, started in self._running.values())
        return max(0.0, (now - max(oldest, self._last_end)) * 1000)

    def free_in_ms(self, now: float) -> float:
        """Estimate when the device will have nothing to do, ms from now."""
        if not self._jobs:
            return 0.0
        if self._tokens_per_ms is None:
            return 0.0  # the first batch ever: ask early rather than late
        tokens = sum(run.padded_tokens for run in self._running)
        tokens += sum(run.padded_tokens for job in self._jobs for run in job.to_start)
        return max(0.0, tokens / self._tokens_per_ms - self.stalled_ms(now))

    def _start_runs(self, now: float) -> None:
        for job in self._jobs:
            while job.to_start:
                run = job.to_start[0]
                if not self._device.start(run, job.rows, self._wake):
                    return
                self._running[run] = (job, now)
                job.to_start.pop(0)

    def _learn(self, tokens: int, milliseconds: float) -> None:
        if milliseconds <= 0:
            return
        rate = tokens / milliseconds
        old = self._tokens_per_ms
        self._tokens_per_ms = rate if old is None else old + _NEWEST * (rate - old)
