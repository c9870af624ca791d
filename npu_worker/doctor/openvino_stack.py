"""What OpenVINO and Intel's driver say about the NPU: versions, devices, plugin, libraries, packages."""

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import WorkerError
from ..npu import advice
from ..npu.driver_files import (
    COMPILER_LIBRARIES,
    DRIVER_LIBRARY,
    LOADER_LIBRARY,
    OLD_DRIVER_LIBRARY,
    loads,
    numbers_of,
    read_packages,
)
from ..npu.platform import check_plugin, read_identity
from ..npu.plugin_options import PLUGIN_COMPILERS, openvino_libraries
from .findings import Finding, ok, problem, warning


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
        findings.append(problem("NPU plugin", str(error)))
    else:
        findings += _plugin(core, devices)
    return [*findings, *check_libraries(loads), *check_packages(read_packages())]


def _plugin(core: Any, devices: list[str]) -> list[Finding]:
    if not any(name == "NPU" or name.startswith("NPU.") for name in devices):
        return [problem("NPU plugin", "it is installed but finds no NPU", advice.INSTALL)]
    identity = read_identity(core)
    shown = f"{identity.name}, architecture {identity.architecture}, compiler {identity.compiler}"
    findings = [ok("NPU plugin", shown)]
    if identity.old_driver:
        old = f"build {identity.driver} is older than release 1.24, and such drivers compute some models wrongly"
        return [*findings, warning("NPU driver", old, advice.UPDATE)]
    return [*findings, ok("NPU driver", f"build {identity.driver}")]


def check_libraries(loads: Callable[[str], bool]) -> list[Finding]:
    """Look at the libraries of the user-space driver.

    Args:
        loads: Whether the dynamic linker finds one.
    """
    findings = [
        ok(about, library) if loads(library) else problem(about, f"{library} cannot be loaded", to_do)
        for about, library, to_do in (
            ("Level Zero", LOADER_LIBRARY, advice.LOADER),
            ("NPU driver file", DRIVER_LIBRARY, advice.INSTALL),
        )
    ]
    if loads(OLD_DRIVER_LIBRARY):
        old = f"{OLD_DRIVER_LIBRARY} of a driver before 1.16 is still there: the current one refuses to start beside it"
        findings.append(problem("old NPU driver", old, advice.LEFT_OVER))
    own = [name for name in PLUGIN_COMPILERS if (openvino_libraries() / name).exists()]
    drivers = next(filter(loads, COMPILER_LIBRARIES), None)
    if own:
        findings.append(ok("NPU compiler", f"OpenVINO's own: {', '.join(own)}"))
    elif drivers is not None:
        findings.append(ok("NPU compiler", f"the driver's: {drivers}"))
    else:
        missing = f"none: neither OpenVINO's own nor {' or '.join(COMPILER_LIBRARIES)} can be loaded"
        findings.append(problem("NPU compiler", missing, advice.COMPILER))
    return findings


def check_packages(installed: Mapping[str, str] | None) -> list[Finding]:
    """Look at the versions of Intel's packages: old ones, of different releases, a loader that is too old.

    Args:
        installed: Versions by name; None where there is no dpkg.
    """
    if installed is None:
        return []
    if not any(name in installed for name in advice.PACKAGES):
        missing = "dpkg knows none of Intel's NPU packages"
        return [warning("packages", missing, f"unless they were installed otherwise: {advice.INSTALL}")]
    shown = ", ".join(f"{name} {version}" for name, version in installed.items())
    findings = []
    releases = {name: numbers_of(installed[name], 3) for name in advice.PACKAGES if name in installed}
    if len(set(releases.values())) > 1:
        findings.append(problem("packages", f"{shown}: of different releases", advice.ONE_RELEASE))
    release = releases.get(advice.PACKAGES[0])
    if release is not None and release < advice.LEAST_RELEASE:
        old = f"{shown}: drivers before 1.24 compute some models wrongly"
        findings.append(warning("packages", old, advice.UPDATE))
    loader = numbers_of(installed.get("libze1", installed.get("level-zero", "")), 3)
    if loader is not None and loader < advice.LEAST_LOADER:
        old = f"libze1 {'.'.join(map(str, loader))} does not know the driver's current name"
        findings.append(problem("Level Zero", old, advice.LOADER))
    return findings or [ok("packages", shown)]
