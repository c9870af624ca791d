"""A sysfs with an NPU in it, made of files: its counter rises as a test, or a process of its own, says."""

import os
import subprocess
import sys
import time
from pathlib import Path

_TICK = """
import os, sys, time
path, interval = sys.argv[1], float(sys.argv[2])
def write(value):
    making = path + ".making"
    with open(making, "w") as file:
        file.write(f"{value}\\n")
    os.replace(making, path)
try:
    os.nice(-10)  # a busy machine must not look like a device that stands still
except OSError:
    pass
value = int(open(path).read())
while os.getppid() == int(sys.argv[3]):
    time.sleep(interval)
    value += int(interval * 1e6)
    write(value)
"""


class SysfsTree:
    """One accelerator, and others before it if wanted."""

    def __init__(self, root: Path, number: int = 0, driver: str = "intel_vpu", counter: str | None = "1000\n") -> None:
        self.base = root
        self.root = root / "sys"
        self.dev = root / "dev"
        self.device = self.add(number, driver)
        self.counter = self.device / "npu_busy_time_us"
        self._ticking: subprocess.Popen[bytes] | None = None
        if counter is not None:
            self.counter.write_text(counter)

    def add(self, number: int, driver: str | None) -> Path:
        """Add an accelerator with a driver; return its folder."""
        device = self.root / "devices" / f"0000:00:{number:02x}.0"
        device.mkdir(parents=True)
        entry = self.root / "class" / "accel" / f"accel{number}"
        entry.mkdir(parents=True)
        (entry / "device").symlink_to(device)
        if driver is not None:
            self.bind(device, driver)
        node = self.dev / "accel" / f"accel{number}"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        return device

    def bind(self, device: Path, driver: str) -> None:
        """Give a device another driver."""
        folder = self.root / "bus" / "pci" / "drivers" / driver
        folder.mkdir(parents=True, exist_ok=True)
        (device / "driver").unlink(missing_ok=True)
        (device / "driver").symlink_to(folder)

    def set(self, value: int | str) -> None:
        """Write the counter at once, as a driver would."""
        making = self.counter.with_name("making")
        making.write_text(f"{value}\n")
        making.replace(self.counter)

    def tick(self, interval: float = 0.005) -> None:
        """Let a process of its own advance the counter, as a device that is never idle."""
        self._ticking = subprocess.Popen(
            [sys.executable, "-S", "-c", _TICK, str(self.counter), str(interval), str(os.getpid())]
        )
        before = self.counter.read_text()
        while self.counter.read_text() == before:
            time.sleep(0.005)

    def freeze(self) -> None:
        """Stop the process that advances the counter."""
        if self._ticking is not None:
            self._ticking.kill()
            self._ticking.wait()
            self._ticking = None
