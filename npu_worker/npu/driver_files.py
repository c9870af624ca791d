"""What is installed of Intel's NPU driver: libraries that load, packages, firmware files."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import advice

FIRMWARE = Path("/lib/firmware")
LOADER_LIBRARY = "libze_loader.so.1"
DRIVER_LIBRARY = "libze_intel_npu.so.1"
#: Releases before 1.16 called it so. While a loader still finds it, the current driver refuses to start.
OLD_DRIVER_LIBRARY = "libze_intel_vpu.so.1"
#: What the driver compiles with: since release 1.33 the first, before it the second.
COMPILER_LIBRARIES = ("libopenvino_intel_npu_compiler_loader.so", "libnpu_driver_compiler.so")


def loads(library: str) -> bool:
    """Return whether the dynamic linker finds a library, and all that it needs."""
    # In a process of its own: loading such a library may have any effect.
    command = [sys.executable, "-P", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def find_compiler() -> str | None:
    """Return the library that the driver would compile with, or None."""
    return next(filter(loads, COMPILER_LIBRARIES), None)


def read_packages(names: Sequence[str] = (*advice.PACKAGES, "libze1", "level-zero")) -> dict[str, str] | None:
    """Return the versions of installed packages by name, or None where there is no dpkg."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return None
    done = subprocess.run(
        [dpkg, "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    fields = (line.split() for line in done.stdout.splitlines())
    return {
        name: version for name, version, status in (each for each in fields if len(each) == 3) if status == "installed"
    }


def numbers_of(version: str, places: int) -> tuple[int, ...] | None:
    """Return the first numbers of a package's version, such as (1, 24), or None where it has fewer."""
    upstream = version.rpartition(":")[2].replace("-", ".").replace("~", ".").replace("+", ".")
    parts = upstream.split(".")[:places]
    return tuple(map(int, parts)) if len(parts) == places and all(map(str.isdecimal, parts)) else None


def hash_firmware(architecture: str, folder: Path = FIRMWARE) -> str:
    """Return a fingerprint of an architecture's firmware files (``4000``: ``vpu_40xx_*``); empty if there is none."""
    files = sorted(
        file
        for place in ("updates/intel/vpu", "intel/vpu")
        for file in (folder / place).glob(f"vpu_{architecture[:2]}xx_v*.bin*")
    )
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(file.read_bytes())
        except OSError:
            continue
    return digest.hexdigest()[:16] if files else ""
