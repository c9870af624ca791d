"""Why a worker cannot work, in one tree. ``status`` is the process's exit status (sysexits.h where it fits).

::

    WorkerError             70  something in the worker broke
    ├── DeviceUnavailable   69  the device asked for is not there, or is not what it says
    ├── DeviceLost          75  the device stopped working; starting again may help
    ├── AlreadyOwned        73  another worker owns the device
    └── ModelUnusable       78  the model folder is missing, damaged or not a cross-encoder

A supervisor starts a worker again after 70 and 75, and not after 69, 73 and 78: those need a person.
"""

from typing import ClassVar


class WorkerError(Exception):
    """Something in the worker broke."""

    status: ClassVar[int] = 70


class DeviceUnavailable(WorkerError):
    """The device asked for is not there, or is not what it says."""

    status = 69


class DeviceLost(WorkerError):
    """The device stopped working."""

    status = 75


class AlreadyOwned(WorkerError):
    """Another worker owns the device."""

    status = 73


class ModelUnusable(WorkerError):
    """The model folder is missing, damaged, or not a cross-encoder."""

    status = 78


#: Exit statuses after which starting again cannot help.
PERMANENT = frozenset({DeviceUnavailable.status, AlreadyOwned.status, ModelUnusable.status})
