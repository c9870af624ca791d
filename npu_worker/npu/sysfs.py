"""The NPU as the kernel shows it: the accel device whose driver is ``intel_vpu``, with its files in sysfs."""

from dataclasses import dataclass
from pathlib import Path

DRIVER = "intel_vpu"
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
    found = [
        AccelDevice(entry.name, entry / "device", driver_of(entry / "device"))
        for entry in (sysfs / "class" / "accel").glob("accel*")
    ]
    return sorted(found, key=lambda each: (len(each.name), each.name))


def find_npu(sysfs: Path = SYSFS) -> AccelDevice | None:
    """Return the first device of ``intel_vpu``: others (amdxdna, qaic, ...) share the numbers, so 0 may not be it."""
    return next((device for device in list_accel(sysfs) if device.driver == DRIVER), None)


def module_version(sysfs: Path = SYSFS) -> str | None:
    """Return the kernel module's version; an empty text if it is loaded and has none, None if it is not loaded."""
    folder = sysfs / "module" / DRIVER
    if not folder.is_dir():
        return None
    return read_text(folder / "version") or ""


def frequencies(device: AccelDevice) -> dict[str, int]:
    """Return current and highest frequency as far as the kernel tells, MHz; names before and after kernel 7.2."""
    names = {
        "current": ("freq/current_freq", "npu_current_frequency_mhz"),
        "max": ("freq/hw_max_freq", "npu_max_frequency_mhz"),
    }
    found = {}
    for name, files in names.items():
        texts = (read_text(device.folder / file) for file in files)
        text = next((text for text in texts if text and text.isdecimal()), None)
        if text is not None:
            found[name] = int(text)
    return found


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
