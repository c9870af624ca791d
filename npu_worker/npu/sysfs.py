"""The NPU as the kernel shows it: the accel device of Intel's driver, with its files in sysfs."""

from dataclasses import dataclass
from pathlib import Path

#: The kernel driver's module.
DRIVER = "intel_vpu"
#: What the driver calls itself; Intel's user-space driver knows both names.
DRIVERS = frozenset({DRIVER, "intel_npu"})
SYSFS, DEV = Path("/sys"), Path("/dev")
COUNTER_FILE = "npu_busy_time_us"


@dataclass(frozen=True, slots=True)
class AccelDevice:
    """An accelerator of any maker: ``accelN``, its folder in sysfs, and its driver's name."""

    name: str
    folder: Path
    driver: str | None

    @property
    def counter(self) -> Path:
        """The file of the cumulative busy time, µs."""
        return self.folder / COUNTER_FILE

    def node(self, dev: Path = DEV) -> Path:
        """Return the device file that programs open."""
        return dev / "accel" / self.name


def list_accel(sysfs: Path = SYSFS) -> list[AccelDevice]:
    """Return all accelerators, in the order of their numbers."""
    devices = [
        AccelDevice(entry.name, entry / "device", driver_of(entry / "device"))
        for entry in (sysfs / "class" / "accel").glob("accel*")
    ]
    return sorted(devices, key=lambda device: (len(device.name), device.name))


def find_npu(sysfs: Path = SYSFS) -> AccelDevice | None:
    """Return the first device of Intel's driver: others (amdxdna, qaic, ...) share the numbers, so 0 may not be it."""
    return next((device for device in list_accel(sysfs) if device.driver in DRIVERS), None)


def module_version(sysfs: Path = SYSFS) -> str | None:
    """Return the kernel module's version; an empty text if it is loaded and has none, None if it is not loaded."""
    folder = next((sysfs / "module" / name for name in sorted(DRIVERS) if (sysfs / "module" / name).is_dir()), None)
    return None if folder is None else read_text(folder / "version") or ""


def frequencies(device: AccelDevice) -> dict[str, int]:
    """Return current and highest frequency as far as the kernel tells, MHz; names before and after kernel 7.2."""
    names = {
        "current": ("freq/current_freq", "npu_current_frequency_mhz"),
        "max": ("freq/hw_max_freq", "npu_max_frequency_mhz"),
    }
    megahertz = {}
    for name, files in names.items():
        texts = (read_text(device.folder / file) for file in files)
        text = next((text for text in texts if text and text.isdecimal()), None)
        if text is not None:
            megahertz[name] = int(text)
    return megahertz


def read_text(path: Path) -> str | None:
    """Return a small file's text without its newline, or None if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def driver_of(device: Path) -> str | None:
    """Return the name of the driver a device in sysfs has now."""
    try:
        return (device / "driver").readlink().name
    except OSError:
        return None
