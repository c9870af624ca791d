"""What OpenVINO and Intel's driver say about the NPU: versions, devices, plugin, compiler, packages."""

import shutil
import subprocess
import sys
from typing import Any

from ..errors import WorkerError
from ..npu.platform import check_plugin, read_identity
from ..npu.plugin_options import COMPILER_LIBRARIES, openvino_libraries
from .findings import Finding, ok, problem, warning

#: Intel's packages, and the loader that OpenVINO finds the driver with.
_PACKAGES = ("intel-level-zero-npu", "intel-driver-compiler-npu", "intel-fw-npu", "libze1", "level-zero")
_INSTALL = "install Intel's packages intel-level-zero-npu, intel-driver-compiler-npu and intel-fw-npu of one release"
_OLDEST = (1, 24)


def check_openvino(core: Any, version: str) -> list[Finding]:
    """Look at OpenVINO's side of the NPU.

    Args:
        core: OpenVINO's core.
        version: OpenVINO's version.
    """
    devices = core.available_devices
    findings = [ok("OpenVINO", version), ok("devices", ", ".join(devices) or "none")]
    try:
        check_plugin(core)
    except WorkerError as error:
        return [*findings, problem("NPU plugin", str(error), "see above"), *_driver_files(), *_packages()]
    if "NPU" in devices:
        about = read_identity(core)
        findings.append(ok("NPU plugin", f"{about.name}, architecture {about.architecture}, compiler {about.compiler}"))
        if about.old_driver:
            findings.append(
                warning(
                    "NPU driver",
                    f"build {about.driver} is older than release 1.24, which computes some models wrongly",
                    _INSTALL,
                )
            )
        else:
            findings.append(ok("NPU driver", f"build {about.driver}"))
    else:
        findings.append(
            problem("NPU plugin", "it is there and finds no NPU", f"{_INSTALL}, and libze1 1.17.17 or newer")
        )
    return [*findings, *_driver_files(), *_packages()]


def _driver_files() -> list[Finding]:
    findings = []
    for about, library, to_do in (
        ("Level Zero", "libze_loader.so.1", "install libze1 1.17.17 or newer (level-zero where it is called so)"),
        ("NPU driver file", "libze_intel_npu.so.1", _INSTALL),
    ):
        found = ok(about, library) if _loads(library) else problem(about, f"{library} cannot be loaded", to_do)
        findings.append(found)
    own = [name for name in COMPILER_LIBRARIES if (openvino_libraries() / name).exists()]
    if own:
        findings.append(ok("NPU compiler", f"OpenVINO's own: {', '.join(own)}"))
    elif _loads("libnpu_driver_compiler.so"):
        findings.append(ok("NPU compiler", "the driver's: libnpu_driver_compiler.so"))
    else:
        findings.append(
            problem("NPU compiler", "neither OpenVINO's own nor libnpu_driver_compiler.so is installed", _INSTALL)
        )
    return findings


def _loads(library: str) -> bool:
    # In a process of its own: what such a library does when it is loaded is its own affair.
    command = [sys.executable, "-P", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _packages() -> list[Finding]:
    """Return the versions of Intel's packages, where dpkg knows them."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return []
    done = subprocess.run(
        [dpkg, "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n", *_PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line.split() for line in done.stdout.splitlines())
    installed = {line[0]: line[1] for line in lines if len(line) == 3 and line[2] == "installed"}
    if not installed:
        return [
            warning("packages", "dpkg knows none of Intel's NPU packages", f"{_INSTALL}, unless installed otherwise")
        ]
    shown = ", ".join(f"{name} {version}" for name, version in installed.items())
    if is_old(installed.get("intel-level-zero-npu", "")):
        return [warning("packages", f"{shown}: drivers before 1.24 compute some models wrongly", _INSTALL)]
    return [ok("packages", shown)]


def is_old(version: str) -> bool:
    """Return whether a driver package's version is known and before 1.24."""
    numbers = version.split(".")[:2]
    return len(numbers) == 2 and all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) < _OLDEST
