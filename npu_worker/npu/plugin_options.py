"""Options of OpenVINO's NPU plugin: what we set, and what a person may add.

The plugin's list of properties depends on driver and compiler, so what we set of ourselves is held against it. What a
person named is handed on as it is: many of the plugin's options work and are not in its list, and it refuses what it
does not know.
"""

import importlib.util
import re
from collections.abc import Collection, Mapping
from pathlib import Path

#: Of a compiler that comes with OpenVINO; since 2026.2 the first is looked for first.
PLUGIN_COMPILERS = ("libopenvino_intel_npu_compiler_loader.so", "libopenvino_intel_npu_compiler.so")
_LEAST_REQUESTS = 2
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
                f"options of the NPU itself, and {name} is not one, or could move the work off it: "
                f"NPU_* (but not {', '.join(sorted(_NEVER))}) or {', '.join(sorted(_GENERAL))}"
            )
        options[name] = value
    return options


def default_options(hint: str, libraries: Path) -> dict[str, str]:
    """Return the options to ask for of ourselves.

    Args:
        hint: ``throughput`` or ``latency``.
        libraries: OpenVINO's folder of libraries.
    """
    options = {
        "PERFORMANCE_HINT": hint.upper(),
        # We keep compiled models ourselves; the driver would keep them a second time, bad ones too.
        "NPU_BYPASS_UMD_CACHING": "YES",
        # Else an NPU of the 40xx generation or later gives its buffers back after 30 s without a request.
        "NPU_DISABLE_IDLE_MEMORY_PRUNING": "YES",
    }
    if not any((libraries / name).exists() for name in PLUGIN_COMPILERS):
        # The default prefers OpenVINO's own compiler, and where that is not installed some versions stop there
        # instead of falling back to the driver's.
        options["NPU_COMPILER_TYPE"] = "DRIVER"
    return options


def optimal_requests(architecture: str, hint: str) -> int:
    """Return how many rows should be in flight, from the plugin's own table of optimal numbers for each generation.

    The plugin itself is not asked: it does not know for which generation an imported model was compiled.

    Args:
        architecture: Such as ``3720``.
        hint: ``THROUGHPUT`` or ``LATENCY``.
    """
    if hint.upper() == "LATENCY":
        return _LEAST_REQUESTS  # the table says 1, but then the device waits while the host prepares the next row
    return 4 if "3720" in architecture else 8


def split_supported(options: Mapping[str, str], supported: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options the plugin knows, and the names of those it does not."""
    kept = {name: value for name, value in options.items() if name in supported}
    return kept, sorted(options.keys() - kept.keys())


def openvino_libraries() -> Path:
    """Return the folder of OpenVINO's libraries; one that does not exist where OpenVINO is not installed."""
    spec = importlib.util.find_spec("openvino")
    return Path(spec.origin if spec and spec.origin else "openvino").parent / "libs"
