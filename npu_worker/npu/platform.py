"""The machine under the NPU path: where sysfs is, how OpenVINO is opened, and what passes for an NPU.

Constraint: nothing in here is a setting. The worker builds ``Platform()`` and nothing else; a test that
replaces the NPU by a stand-in does so by passing the worker another object.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from ..errors import NoNpu, NoPermission, NotAnNpu, NoUserDriver
from . import advice, compiler_process
from .driver_files import FIRMWARE, OLD_DRIVER_LIBRARY, find_compiler, hash_firmware, loads
from .sysfs import DEV, DRIVER, SYSFS, find_npu, list_accel, module_version

PLUGIN = "openvino_intel_npu_plugin"
#: How the plugin names the device a model runs on: some versions add the architecture.
_NPU = re.compile(r"NPU(\.\w+)?")
#: What the driver calls its version is the time of its build; that of release 1.24, s.
DRIVER_1_24 = 1_759_276_800
#: Each names something that the driver, its compiler or the device is; a blob is good for one set of them.
_IDENTITY = ("NPU_DRIVER_VERSION", "NPU_COMPILER_VERSION", "DEVICE_ARCHITECTURE", "FULL_DEVICE_NAME")


@dataclass(frozen=True, slots=True)
class Identity:
    """What device, driver and compiler say they are; ``unknown`` where they do not.

    ``firmware`` is a fingerprint of the files on disk: nothing says which one the device runs.
    """

    openvino: str
    driver: str
    compiler: str
    architecture: str
    name: str
    firmware: str = ""

    @property
    def old_driver(self) -> bool:
        """Whether the driver was built before release 1.24; older ones compute some models wrongly without an error."""
        return self.driver.isdecimal() and 1_000_000_000 < int(self.driver) < DRIVER_1_24


class Platform:
    """The real machine.

    Args:
        sysfs: Where sysfs is.
        dev: Where device files are.
        firmware: Where firmware files are.
    """

    #: Options every compilation gets, unseen by the filter.
    forced_options: Mapping[str, str] = {}
    #: What answers, pages and logs call the device.
    device_name = "NPU"

    def __init__(self, sysfs: Path = SYSFS, dev: Path = DEV, firmware: Path = FIRMWARE) -> None:
        self.sysfs = sysfs
        self._dev = dev
        self._firmware = firmware

    def make_core(self) -> Any:
        """Return OpenVINO's core."""
        return ov.Core()

    def compile_command(self) -> Sequence[str]:
        """Return the command of the process that compiles."""
        return (sys.executable, "-P", "-m", compiler_process.__name__)

    def identify(self, core: Any) -> Identity:
        """Look for the NPU from the kernel upwards and return what it is.

        Raises:
            NoNpu: The kernel has none.
            NoPermission: This user may not open it.
            NotAnNpu: OpenVINO serves the name with something else.
            NoUserDriver: OpenVINO finds none.
        """
        self._check_kernel()
        check_plugin(core)
        devices = core.available_devices
        if not any(name == "NPU" or name.startswith("NPU.") for name in devices):
            found = f"the kernel has an NPU, but OpenVINO finds only {', '.join(devices)}"
            if loads(OLD_DRIVER_LIBRARY):
                raise NoUserDriver(
                    f"{found}: {OLD_DRIVER_LIBRARY} of a driver before 1.16 is still installed, and the current "
                    f"driver refuses to start beside it; remove it: {advice.LEFT_OVER}"
                )
            raise NoUserDriver(f"{found}: {advice.INSTALL}")
        return read_identity(core, self._firmware)

    def has_compiler(self) -> bool:
        """Return whether the driver has something to compile with."""
        return find_compiler() is not None

    def device_epoch(self) -> str:
        """Return what changes when the driver is reloaded or the machine restarted: its device file is another one."""
        device = find_npu(self.sysfs)
        try:
            found = device.node(self._dev).stat() if device is not None else None
        except OSError:
            found = None
        return "" if found is None else f"{found.st_dev}-{found.st_ino}-{found.st_ctime_ns}"

    def check_compiled(self, compiled: Any) -> None:
        """Raise ``NotAnNpu`` unless a compiled model runs on the NPU itself."""
        devices = compiled.get_property("EXECUTION_DEVICES")
        named = [devices] if isinstance(devices, str) else list(devices)
        if not named or not all(map(_NPU.fullmatch, named)):
            raise NotAnNpu(f"the model was compiled for NPU and runs on {devices}: that is not the NPU")
        # Without the first the second has no effect; its default names the CPU as a reserve.
        for name, harmless in (("NPU_USE_NPUW", (None, "NO", "False")), ("NPUW_DEVICES", (None, "", "NPU", "NPU,CPU"))):
            value = read_property(compiled, name)
            if value not in harmless:
                raise NotAnNpu(
                    f"the model was compiled with {name}={value}, which can send its work to another device: "
                    "remove that option and the compiled models in the cache"
                )

    def _check_kernel(self) -> None:
        device = find_npu(self.sysfs)
        if device is None:
            others = ", ".join(f"{each.name} ({each.driver or 'no driver'})" for each in list_accel(self.sysfs))
            loaded = "not loaded" if module_version(self.sysfs) is None else "loaded"
            raise NoNpu(
                f"no NPU: no device under {self.sysfs / 'class/accel'} has the driver {DRIVER} "
                f"(there is {others or 'none at all'}; the module {DRIVER} is {loaded}): {advice.FIND_NPU}"
            )
        node = device.node(self._dev)
        if not node.exists():
            raise NoNpu(f"the kernel has the NPU {device.name}, but {node} is missing: is it hidden by a container?")
        if not os.access(node, os.R_OK | os.W_OK):
            raise NoPermission(f"this user may not open {node}: {open_to(node)}")


def open_to(node: Path) -> str:
    """Return what a person does who may not open a device file."""
    try:
        group = node.group()
    except (OSError, KeyError):
        group = "render"
    return advice.ADD_RULE if group == "root" else advice.join_group(group)


def check_plugin(core: Any) -> None:
    """Check that the name NPU belongs to Intel's plugin.

    Raises:
        NotAnNpu: It belongs to another.
        NoUserDriver: This OpenVINO has no plugin for it.
    """
    try:
        found = core.get_versions("NPU")["NPU"].description
    except (RuntimeError, KeyError) as error:
        raise NoUserDriver(f"this OpenVINO has no plugin for the NPU ({error}): reinstall the package") from error
    if found != PLUGIN:
        raise NotAnNpu(
            f"OpenVINO serves the name NPU with {found}, not {PLUGIN}: remove the plugins.xml with that entry from "
            "OpenVINO's folder of libraries"
        )


def read_identity(core: Any, firmware: Path = FIRMWARE) -> Identity:
    """Return what device, driver and compiler say they are."""
    driver, compiler, architecture, name = (read_property(core, key, "NPU") or "unknown" for key in _IDENTITY)
    return Identity(ov.get_version(), driver, compiler, architecture, name, hash_firmware(architecture, firmware))


def read_property(holder: Any, name: str, *device: str) -> str | None:
    """Return a property of a core or a compiled model as text, or None where it has none."""
    try:
        return str(holder.get_property(*device, name))
    except RuntimeError:
        return None
