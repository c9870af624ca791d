"""Jobs in order through the device: what starts next, what has finished, and when to ask for more.

No socket in here; time is a parameter.
"""

import math
from collections import deque

from .device import Device, Wake
from .job import Job
from .packing import Run

#: Ask for the next batch this long before the device will be free, ms: enough to fetch and tokenize it.
LEAD_MS = 40.0
#: Jobs held at once: what is held here, nobody can pass or cancel.
MOST_JOBS = 3
#: Weight of the newest run in the running sums of tokens and time.
_NEWEST = 0.2


class Pipeline:
    """Feeds a device with the runs of jobs, first come, first served."""

    def __init__(self, device: Device, wake: Wake) -> None:
        self._device = device
        self._wake = wake
        self._jobs: deque[Job] = deque()
        self._running: dict[Run, tuple[Job, float]] = {}
        self._last_end = 0.0
        self._resumed = 0.0
        # Decayed sums: the mean of single rates would mean nothing where runs end side by side.
        self._tokens, self._milliseconds = 0.0, 0.0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._jobs

    @property
    def device_busy(self) -> bool:
        """Whether the device holds a run, be it one that nobody waits for any more."""
        return bool(self._running)

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
        """Collect what has finished, start what can; return the jobs that are done, the older first."""
        for finished in self._device.collect():
            job, started = self._running.pop(finished.run)
            seconds = finished.ended - max(started, self._last_end)
            self._last_end = finished.ended
            job.finish(finished, seconds)
            self._learn(finished.run.padded_tokens, seconds * 1000)
        self._start_runs(now)
        done = [job for job in self._jobs if job.done]
        if done:
            self._jobs = deque(job for job in self._jobs if not job.done)
        return done

    def stalled_ms(self, now: float) -> float:
        """Return for how long the device has held a run and finished none, ms; 0 when it holds none."""
        if not self._running:
            return 0.0
        oldest = min(started for _, started in self._running.values())
        return max(0.0, (now - max(oldest, self._last_end, self._resumed)) * 1000)

    def resume(self, now: float) -> None:
        """Count stalls from ``now``: until then this process, or the whole machine, was stopped."""
        self._resumed = now

    def free_in_ms(self, now: float) -> float:
        """Estimate when the device will have nothing to do, ms from now."""
        if not self._jobs and not self._running:
            return 0.0
        if len(self._jobs) >= MOST_JOBS:
            return math.inf
        if not self._milliseconds:
            return 0.0  # the first batch ever: ask early rather than late
        tokens = sum(run.padded_tokens for run in self._running)
        tokens += sum(run.padded_tokens for job in self._jobs for run in job.to_start)
        return max(0.0, tokens * self._milliseconds / self._tokens - self.stalled_ms(now))

    def _start_runs(self, now: float) -> None:
        for job in self._jobs:
            waiting = []
            for run in job.to_start:
                if self._device.start(run, job.rows, self._wake):
                    self._running[run] = (job, now)
                else:
                    waiting.append(run)
            job.to_start = waiting

    def _learn(self, tokens: int, milliseconds: float) -> None:
        self._tokens += _NEWEST * (tokens - self._tokens)
        self._milliseconds += _NEWEST * (max(0.0, milliseconds) - self._milliseconds)
