"""The timeouts for silence and stalls, in one place, because they only work in this order."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits that say "stuck" or "gone", in seconds.

    The order, and the reason for it::

        broker_silence < device_stuck < broker_stall < first_inference
        broker_silence < watchdog

    - A process that is stopped or dead sends nothing, so its silence is noticed soonest.
    - A device that hangs is noticed by its own worker first (``device_stuck``): it says goodbye with ``fault``,
      which gives the broker its batches back at once, and ends itself.
    - Only a worker that reports the stall and does not end itself is given up by the broker (``broker_stall``).
    - A process whose loop does not run at all, because it was stopped (SIGSTOP) or hangs, is killed by ``serve`` or
      systemd (``watchdog``, the units' ``WatchdogSec=``): after the broker has decided what becomes of its pairs, and
      so that the next one answers them within the 30 s that a request waits by default.

    A run takes a second or two on a slow CPU, and the NPU's kernel driver itself ends a job after 2 s, so nothing that
    works comes near ``device_stuck``.
    """

    #: The broker has heard nothing from the worker, which sends a message at least once a second.
    broker_silence: float = 10.0
    #: The device holds a run and has finished none: the worker ends itself.
    device_stuck: float = 15.0
    #: The worker has reported such a stall for this long: the broker gives it up.
    broker_stall: float = 20.0
    #: The loop of broker, worker or HTTP front has not fed the watchdog, which it does twice in this time.
    watchdog: float = 15.0
    #: A device's first inference, at the start: a GPU may still compile kernels in it.
    first_inference: float = 60.0


#: The values outside tests.
DEFAULT_TIMEOUTS = Timeouts()
