"""Options of OpenVINO's NPU plugin: what we set, what a person may add, and what this plugin knows.

The plugin's list of properties depends on driver and compiler, so everything is held against it before it is set.
"""

import importlib.util
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from .settings import NpuSettings

#: Of a compiler that comes with OpenVINO; since 2026.2 the first is looked for first.
COMPILER_LIBRARIES = ("libopenvino_intel_npu_compiler_loader.so", "libopenvino_intel_npu_compiler.so")
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
#: Options beside NPU_* that tune the NPU and cannot send its work elsewhere.
_GENERAL = frozenset(
    {
        "EXECUTION_MODE_HINT",
        "INFERENCE_PRECISION_HINT",
        "LOG_LEVEL",
        "MODEL_PRIORITY",
        "NUM_STREAMS",
        "PERFORMANCE_HINT",
        "PERFORMANCE_HINT_NUM_REQUESTS",
        "PERF_COUNT",
        "WORKLOAD_TYPE",
    }
)
#: They run the model on another device, or not at all.
_NEVER = frozenset({"NPU_USE_NPUW", "NPU_CREATE_EXECUTOR"})


def read_options(text: str) -> dict[str, str]:
    """Read ``KEY=VALUE,KEY=VALUE``.

    Raises:
        ValueError: Not of that form, or an option that could move the work off the NPU; says what is allowed.
    """
    options: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ValueError("KEY=VALUE pairs, comma-separated, with upper-case keys of OpenVINO's NPU plugin")
        if name in _NEVER or (name not in _GENERAL and not name.startswith("NPU_")):
            raise ValueError(
                f"options of the NPU itself, and {name} is none or could move the work off it: "
                f"NPU_* (but not {', '.join(sorted(_NEVER))}) or {', '.join(sorted(_GENERAL))}"
            )
        options[name] = value
    return options


def wanted_options(settings: NpuSettings, libraries: Path) -> dict[str, str]:
    """Return the options to ask for.

    Args:
        settings: What the person set; their own options win.
        libraries: OpenVINO's folder of libraries.
    """
    options = {"PERFORMANCE_HINT": settings.hint.upper()}
    if not any((libraries / name).exists() for name in COMPILER_LIBRARIES):
        # The default prefers OpenVINO's own compiler, and where that is not installed some versions stop there
        # instead of falling back to the driver's.
        options["NPU_COMPILER_TYPE"] = "DRIVER"
    return options | dict(settings.options)


def split_supported(options: Mapping[str, str], supported: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options the plugin knows, and the names of those it does not."""
    kept = {name: value for name, value in options.items() if name in supported}
    return kept, sorted(options.keys() - kept.keys())


def openvino_libraries() -> Path:
    """Return the folder of OpenVINO's libraries; one that does not exist where OpenVINO is not installed."""
    spec = importlib.util.find_spec("openvino")
    return Path(spec.origin if spec and spec.origin else "openvino").parent / "libs"
