"""A loop's periodic reports to the service manager: its status when that changed, and its watchdog ping in time."""

import time
from collections.abc import Callable

from .notify import Notifier

#: A status line is not sent more often than this, s.
STATUS_EVERY_S = 1.0


class Heartbeat:
    """Reports for one loop, which calls ``beat`` on every turn and wakes at ``next_wakeup``.

    An idle loop stays asleep: after its last event it is woken once, to send the status that this left, and then
    only for the watchdog.
    """

    def __init__(self, notifier: Notifier | None = None) -> None:
        self._notifier = notifier or Notifier()
        limit = self._notifier.watchdog_s
        self._interval_s = None if limit is None else limit / 2
        self._watchdog_at = self._status_at = 0.0
        self._sent = ""
        self._stale = False

    def ready(self, status: str) -> None:
        """Report that the service is ready."""
        self._sent = status
        self._status_at = time.monotonic() + STATUS_EVERY_S
        self._notifier.ready(status)

    def stopping(self, status: str) -> None:
        """Report that the service has begun to stop."""
        self._sent = status
        self._notifier.stopping(status)

    def beat(self, now: float, status: Callable[[], str]) -> None:
        """Send what is due at ``now``."""
        if not self._notifier.connected:
            return
        if self._interval_s is not None and now >= self._watchdog_at:
            self._watchdog_at = now + self._interval_s
            self._notifier.watchdog()
        if now < self._status_at:
            self._stale = True
            return
        self._stale = False
        if (text := status()) != self._sent:
            self._sent = text
            self._status_at = now + STATUS_EVERY_S
            self._notifier.status(text)

    def next_wakeup(self) -> float | None:
        """Return when ``beat`` has something to do, or None."""
        due = [self._status_at] if self._stale else []
        if self._interval_s is not None:
            due.append(self._watchdog_at)
        return min(due, default=None)
