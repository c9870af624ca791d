"""What the kernel says about the NPU: release, module, devices, rights, counter, frequencies."""

import grp
import os
import pwd
import re
import stat
from pathlib import Path

from ..errors import WorkerError
from ..npu.busy_counter import BusyCounter
from ..npu.sysfs import COUNTER_FILE, DEV, DRIVER, SYSFS, AccelDevice, find_npu, frequencies, list_accel, module_version
from .findings import Finding, ok, problem, warning

#: The first kernel with the busy-time counter.
_KERNEL = (6, 11)


def check_machine(sysfs: Path = SYSFS, dev: Path = DEV, release: str | None = None) -> list[Finding]:
    """Look at the kernel's side of the NPU.

    Args:
        sysfs: Where sysfs is.
        dev: Where device files are.
        release: The kernel's release; this machine's if not given.
    """
    findings = [_kernel(os.uname().release if release is None else release), _module(sysfs)]
    findings += [
        ok("accelerator", f"{each.name} has the driver {each.driver or 'none'}: not an Intel NPU")
        for each in list_accel(sysfs)
        if each.driver != DRIVER
    ]
    device = find_npu(sysfs)
    if device is None:
        return [
            *findings,
            problem(
                "NPU",
                f"no device under {sysfs / 'class/accel'} has the driver {DRIVER}",
                "enable the NPU in the firmware's set-up, load the module, see 'sudo dmesg | grep vpu'; "
                "without an NPU use --device CPU",
            ),
        ]
    pci = device.folder.resolve().name
    findings.append(ok("NPU", f"{device.name} at {pci}, device {_text(device.folder / 'device')}"))
    return [*findings, _node(device.node(dev)), _counter(sysfs), _frequencies(device)]


def _kernel(release: str) -> Finding:
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if numbers < _KERNEL:
        return problem(
            "kernel",
            f"{release} has no {COUNTER_FILE}, without which nothing proves that the NPU works",
            "install kernel 6.11 or newer",
        )
    return ok("kernel", release)


def _module(sysfs: Path) -> Finding:
    version = module_version(sysfs)
    if version is None:
        return problem("kernel module", f"{DRIVER} is not loaded", f"sudo modprobe {DRIVER}")
    return ok("kernel module", f"{DRIVER} {version}".strip())


def _node(node: Path) -> Finding:
    try:
        found = node.stat()
    except OSError as error:
        return problem("device file", f"{node}: {error.strerror}", "in a container, pass it with --device /dev/accel")
    group = _group(found.st_gid)
    shown = f"{node} {stat.filemode(found.st_mode)} {_user(found.st_uid)}:{group}"
    if not os.access(node, os.R_OK | os.W_OK):
        if group == "root":
            return problem(
                "device file",
                f"{shown}: not for this user, nor for any group",
                "update systemd (its udev rules put accelerators in the group render) or add such a rule",
            )
        return problem(
            "device file", f"{shown}: not for this user", f"sudo usermod -aG {group} $USER, then log in anew"
        )
    return ok("device file", f"{shown}, open to this user")


def _counter(sysfs: Path) -> Finding:
    try:
        counter = BusyCounter(sysfs)
        return ok("busy time", f"{counter.path}: {counter.read()} us since the driver was loaded")
    except WorkerError as error:
        return problem("busy time", str(error), "install kernel 6.11 or newer; see that no sandbox hides sysfs")


def _frequencies(device: AccelDevice) -> Finding:
    found = frequencies(device)
    if not found:
        return warning("frequency", "the kernel does not tell", "nothing; kernels from 6.15 on tell")
    return ok("frequency", ", ".join(f"{name} {value} MHz" for name, value in found.items()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return "unknown"


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
