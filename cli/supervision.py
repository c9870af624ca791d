"""Decides when ``serve`` starts a component, and when it kills one that no longer reports.

Constraints: no process, no socket, no clock, no logger. Time is a parameter (s, monotonic). What a component
reports is sd_notify(3), so that ``serve`` judges by the same reports as systemd does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..protocol.timeouts import DEFAULT_TIMEOUTS


@dataclass(frozen=True, slots=True)
class SupervisionTimeouts:
    """The timeouts of ``serve``, s."""

    #: From the start to ``READY=1``; a component that needs more asks for it (``EXTEND_TIMEOUT_USEC``).
    start: float = 120.0
    #: Between two ``WATCHDOG=1``.
    watchdog: float = DEFAULT_TIMEOUTS.watchdog
    #: A component that was ready for this long did not fail because of its start.
    settled: float = 2.0
    #: The pause before one that did fail right after its start is started again: the first, and the longest.
    first_pause: float = 0.5
    longest_pause: float = 30.0
    #: From SIGTERM to the end, before it is killed: longer than its own drain (10 s).
    stop: float = 15.0
    #: The same at the second signal: time to remove its sockets.
    stop_at_once: float = 1.0


class Supervision:
    """The state of one component's process, and what follows from it."""

    def __init__(self, limits: SupervisionTimeouts) -> None:
        self._limits = limits
        self._pause = 0.0
        self._ready_since: float | None = None
        self._overdue_at: float | None = None
        self.was_ready = False
        #: When to start it, or None while it runs.
        self.start_at: float | None = 0.0

    @property
    def ready(self) -> bool:
        """Whether it runs and has said that it is ready."""
        return self._ready_since is not None

    def started(self, now: float) -> None:
        """Note that its process was started."""
        self.start_at = None
        self._ready_since = None
        self._overdue_at = now + self._limits.start

    def reported(self, report: Mapping[str, str], now: float) -> None:
        """Note what its process reported."""
        if report.get("READY") == "1" and not self.ready:
            self._ready_since = now
            self.was_ready = True
            self._overdue_at = now + self._limits.watchdog
        elif report.get("WATCHDOG") == "1" and self.ready:
            self._overdue_at = now + self._limits.watchdog
        if report.get("STOPPING") == "1":
            self._overdue_at = now + self._limits.stop
        microseconds = report.get("EXTEND_TIMEOUT_USEC", "")
        if microseconds.isdecimal() and self._overdue_at is not None:
            self._overdue_at = max(self._overdue_at, now + int(microseconds) / 1e6)

    def resume(self, now: float) -> None:
        """Give it time to report: until ``now`` we, or the whole machine, were stopped."""
        if self._overdue_at is not None:
            self._overdue_at = max(self._overdue_at, now + self._limits.watchdog)

    def ended(self, now: float) -> float:
        """Note that its process ended; return the pause before the next start, s.

        No pause after a process that had been ready for a while; else twice the last one.
        """
        settled = self._ready_since is not None and now - self._ready_since >= self._limits.settled
        self._pause = 0.0 if settled else min(self._pause * 2 or self._limits.first_pause, self._limits.longest_pause)
        self._ready_since = self._overdue_at = None
        self.start_at = now + self._pause
        return self._pause

    def killed(self) -> None:
        """Note that its process was killed for being overdue, and will end."""
        self._overdue_at = None

    def overdue(self, now: float) -> str | None:
        """Return why its process must be killed, or None."""
        if self._overdue_at is None or now < self._overdue_at:
            return None
        return "has not reported for too long" if self.ready else "was not ready in time"

    def next_wakeup(self) -> float | None:
        """Return when ``start_at`` or ``overdue`` is due, or None."""
        return self.start_at if self.start_at is not None else self._overdue_at
