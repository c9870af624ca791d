"""The kernel driver's counter of the NPU's busy time, ``npu_busy_time_us``, read sparingly.

It is the wall-clock time during which at least one job of any process was outstanding, µs since the driver was
loaded. Reading it takes the driver's job lock, hence the limit.
"""

import threading
import time
from pathlib import Path

from ..errors import CounterLost, CounterUnreadable, NoCounter, NoNpu
from . import advice
from .sysfs import DRIVER, DRIVERS, SYSFS, driver_of, find_npu

#: The least time between two reads, s: 20 a second.
READ_EVERY_S = 0.05


class BusyCounter:
    """The NPU's busy-time counter.

    Args:
        sysfs: Where sysfs is. Tests only have another one than ``/sys``.

    Raises:
        NoNpu: No device of the driver.
        NoCounter: The driver has no counter.
        CounterUnreadable: It cannot be read.
    """

    def __init__(self, sysfs: Path = SYSFS) -> None:
        device = find_npu(sysfs)
        if device is None:
            raise NoNpu(f"no device under {sysfs / 'class/accel'} has the driver {DRIVER}; is the module loaded?")
        self._device = device
        self.path = device.counter
        self._lock = threading.Lock()
        self._allowed_at = 0.0
        try:
            self._read_file()
        except FileNotFoundError:
            raise NoCounter(
                f"there is no {self.path}, so nothing can prove that the NPU works: {advice.KERNEL} (see 'uname -r')"
            ) from None
        except (OSError, ValueError) as error:
            raise CounterUnreadable(
                f"{self.path} cannot be read as a number ({error}), so nothing can prove that the NPU works; it is "
                "readable for everybody unless a sandbox hides it"
            ) from error

    def due_in(self, now: float) -> float:
        """Return for how long no read is allowed yet, s."""
        return max(0.0, self._allowed_at - now)

    def try_read(self, now: float) -> int | None:
        """Return the counter, µs; None if it has been read less than ``READ_EVERY_S`` ago.

        Raises:
            CounterLost: It cannot be read any more, or the device has another driver now.
        """
        with self._lock:
            if now < self._allowed_at:
                return None
            self._allowed_at = now + READ_EVERY_S
            if (driver := driver_of(self._device.folder)) not in DRIVERS:
                raise CounterLost(
                    f"{self._device.name} has {driver or 'no driver'} now, not {DRIVER}: was it unloaded?"
                )
            try:
                return self._read_file()
            except (OSError, ValueError) as error:
                raise CounterLost(f"{self.path} can no longer be read: {error}") from error

    def read(self) -> int:
        """Return the counter, µs, as soon as a read is allowed. Raises as ``try_read``."""
        while (value := self.try_read(time.monotonic())) is None:
            time.sleep(self.due_in(time.monotonic()))
        return value

    def _read_file(self) -> int:
        return int(self.path.read_text(encoding="ascii", errors="replace"))
