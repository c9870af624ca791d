"""What the kernel says about the NPU: release, module, devices, rights, counter, frequencies."""

import grp
import os
import pwd
import re
import stat
from pathlib import Path

from ..errors import WorkerError
from ..npu import advice
from ..npu.busy_counter import BusyCounter
from ..npu.platform import open_to
from ..npu.sysfs import (
    COUNTER_FILE,
    DEV,
    DRIVER,
    DRIVERS,
    SYSFS,
    AccelDevice,
    find_npu,
    frequencies,
    list_accel,
    module_version,
    read_text,
)
from .findings import Finding, ok, problem, warning

#: The first kernel with the busy-time counter; distributions may have it in an older one.
_KERNEL = (6, 11)
#: Generations by PCI device: name, architecture.
GENERATIONS = {
    "0x7d1d": "Meteor Lake (3720)",
    "0xad1d": "Arrow Lake (3720)",
    "0x643e": "Lunar Lake (4000)",
    "0xb03e": "Panther Lake (5010)",
    "0xfd3e": "Wildcat Lake (5020)",
}


def check_machine(sysfs: Path = SYSFS, dev: Path = DEV, release: str | None = None) -> list[Finding]:
    """Look at the kernel's side of the NPU.

    Args:
        sysfs: Where sysfs is.
        dev: Where device files are.
        release: The kernel's release; this machine's if not given.
    """
    device = find_npu(sysfs)
    counted = device is not None and device.counter.exists()
    findings = [_kernel(os.uname().release if release is None else release, counted=counted), _module(sysfs)]
    findings += [
        ok("accelerator", f"{other.name} has the driver {other.driver or 'none'}: not an Intel NPU")
        for other in list_accel(sysfs)
        if other.driver not in DRIVERS
    ]
    if device is None:
        missing = f"no device under {sysfs / 'class/accel'} has the driver {DRIVER}"
        return [*findings, problem("NPU", missing, advice.FIND_NPU)]
    pci = device.folder.resolve().name
    number = read_text(device.folder / "device") or "unknown"
    generation = GENERATIONS.get(number.lower(), "a generation unknown to this program")
    findings.append(ok("NPU", f"{device.name} at {pci}, device {number}: {generation}"))
    return [*findings, _node(device.node(dev)), _counter(sysfs), _frequencies(device)]


def _kernel(release: str, *, counted: bool) -> Finding:
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if numbers >= _KERNEL:
        return ok("kernel", release)
    if counted:
        return ok("kernel", f"{release}, with a {COUNTER_FILE} of a newer one")
    return warning("kernel", f"{release} is older than 6.11, the first with {COUNTER_FILE}", advice.KERNEL)


def _module(sysfs: Path) -> Finding:
    version = module_version(sysfs)
    if version is None:
        return problem("kernel module", f"{DRIVER} is not loaded", f"sudo modprobe {DRIVER}")
    return ok("kernel module", f"{DRIVER} {version}".strip())


def _node(node: Path) -> Finding:
    try:
        status = node.stat()
    except OSError as error:
        return problem("device file", f"{node}: {error.strerror}", advice.IN_CONTAINER)
    shown = f"{node} {stat.filemode(status.st_mode)} {_user(status.st_uid)}:{_group(status.st_gid)}"
    if not os.access(node, os.R_OK | os.W_OK):
        return problem("device file", f"{shown}: this user may not open it", open_to(node))
    return ok("device file", f"{shown}, this user may open it")


def _counter(sysfs: Path) -> Finding:
    try:
        counter = BusyCounter(sysfs)
        return ok("busy time", f"{counter.path}: {counter.read()} us since the driver was loaded")
    except WorkerError as error:
        return problem("busy time", str(error), f"{advice.KERNEL}; see that no sandbox hides sysfs")


def _frequencies(device: AccelDevice) -> Finding:
    megahertz = frequencies(device)
    if not megahertz:
        return ok("frequency", "the kernel does not report it (kernels do from 6.15 on)")
    return ok("frequency", ", ".join(f"{name} {value} MHz" for name, value in megahertz.items()))


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
