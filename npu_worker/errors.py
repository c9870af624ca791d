"""Why a worker cannot work, in one tree. ``status`` is the process's exit status (sysexits.h where it fits).

::

    WorkerError              70  an unexpected error in the worker
    ├── DeviceUnavailable    69  the requested device is not available, or is not an NPU
    │   ├── NoNpu                no device of the kernel driver intel_vpu
    │   ├── NoPermission         this user may not open it
    │   ├── NoUserDriver         the kernel has an NPU, OpenVINO finds none
    │   ├── NoCompiler           nothing is installed that compiles for the NPU
    │   ├── OldDriver            driver or compiler are too old for this OpenVINO
    │   ├── DriverMismatch       firmware, driver and compiler are of different releases
    │   └── NotAnNpu             OpenVINO serves the name NPU with something else
    ├── CompileFailed        65  the NPU's compiler cannot compile this model
    ├── NotProven            76  start-up self-test failed: no proof of NPU use, or wrong scores
    │   ├── NoCounter            the driver has no busy-time counter
    │   ├── CounterUnreadable    it has one that cannot be read
    │   ├── CounterStill         it did not rise during inference
    │   └── WrongLogits          the scores are not the model's
    ├── DeviceLost           75  the device stopped working; restarting may help
    │   ├── DeviceStuck          it holds a run and finishes none; the process ends without waiting for it
    │   ├── CounterStalled       its busy-time counter does not rise while it claims to work
    │   └── CounterLost          its busy-time counter can no longer be read
    ├── WorkerDismissed      75  the broker gave this worker up: it had been silent, stopped or out of reach
    ├── AlreadyOwned         73  another worker owns the device
    └── ModelUnusable        78  the model folder is missing, damaged or not a cross-encoder

A supervisor restarts a worker after any exit status but 0 and those in ``PERMANENT``, which need a person.
"""

from collections.abc import Sequence
from typing import ClassVar


class WorkerError(Exception):
    """An unexpected error in the worker."""

    status: ClassVar[int] = 70


class DeviceUnavailable(WorkerError):
    """The requested device is not available, or is not an NPU."""

    status = 69


class NoNpu(DeviceUnavailable):
    """No device of the kernel driver intel_vpu."""


class NoPermission(DeviceUnavailable):
    """This user may not open the NPU."""


class NoUserDriver(DeviceUnavailable):
    """The kernel has an NPU, and OpenVINO finds none."""


class NoCompiler(DeviceUnavailable):
    """Nothing is installed that compiles for the NPU."""


class OldDriver(DeviceUnavailable):
    """The NPU's driver or compiler is too old for this OpenVINO."""


class DriverMismatch(DeviceUnavailable):
    """The NPU's firmware, driver and compiler are of different releases."""


class NotAnNpu(DeviceUnavailable):
    """OpenVINO serves the name NPU with something else."""


class CompileFailed(WorkerError):
    """The NPU's compiler cannot compile this model."""

    status = 65


class NotProven(WorkerError):
    """The start-up self-test failed: no proof of NPU use, or wrong scores."""

    status = 76


class NoCounter(NotProven):
    """The driver has no busy-time counter."""


class CounterUnreadable(NotProven):
    """The busy-time counter cannot be read."""


class CounterStill(NotProven):
    """The busy-time counter did not rise during inference."""


class WrongLogits(NotProven):
    """The scores are not the model's.

    Args:
        message: The sentence to show.
        logits: What the device returned, where it returned numbers.
        expected: The correct logits.
    """

    def __init__(self, message: str, logits: Sequence[float] = (), expected: Sequence[float] = ()) -> None:
        super().__init__(message)
        self.logits = list(logits)
        self.expected = list(expected)


class DeviceLost(WorkerError):
    """The device stopped working."""

    status = 75


class DeviceStuck(DeviceLost):
    """The device holds a run and finishes none.

    OpenVINO's destructors would wait for that run, so the handler of this ends the process by ``os._exit``.
    """


class CounterStalled(DeviceLost):
    """The busy-time counter does not rise while the device claims to work."""


class CounterLost(DeviceLost):
    """The busy-time counter can no longer be read."""


class WorkerDismissed(WorkerError):
    """The broker gave this worker up: it had been silent, stopped or out of reach."""

    status = 75


class AlreadyOwned(WorkerError):
    """Another worker owns the device."""

    status = 73


class ModelUnusable(WorkerError):
    """The model folder is missing, damaged, or not a cross-encoder."""

    status = 78


#: Exit statuses after which restarting cannot help.
PERMANENT = frozenset(
    each.status for each in (DeviceUnavailable, CompileFailed, NotProven, AlreadyOwned, ModelUnusable)
)
