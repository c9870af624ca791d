"""When an idle device is warmed up: after a quiet moment, a run at a time. Time is a parameter."""

from .device import Device, Wake

#: Nobody has asked for anything for so long, s. A request that comes during a run of the warm-up waits for its end.
QUIET_S = 0.25


class IdleWarmUp:
    """Lets a device get ready in its idle time what would make the first requests of a kind slower.

    Args:
        device: The device.
        wake: Called when a run of the warm-up has ended: then the next may begin.
        now: When the device began to be idle, s (monotonic).
    """

    def __init__(self, device: Device, wake: Wake, now: float) -> None:
        self._device = device
        self._wake = wake
        self._quiet_since = now

    def advance(self, now: float, *, idle: bool) -> None:
        """Start the next run of the warm-up if the device has been idle for a while."""
        if not idle:
            self._quiet_since = now
        elif now - self._quiet_since >= QUIET_S:
            self._device.warm_up(self._wake)

    def due_in(self, now: float) -> float | None:
        """Return when ``advance`` is to be called, s from now; None while nothing is left to do, or a run wakes."""
        if self._device.warm:
            return None
        wait = self._quiet_since + QUIET_S - now
        return wait if wait > 0 else None
