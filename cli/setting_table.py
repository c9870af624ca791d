"""Every setting, in one table: environment variable, flag, default, and which commands take it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..broker.core import DEFAULT_PLAN
from ..npu_worker.npu.bucket_plan import DEFAULT_BUCKETS
from ..npu_worker.npu.settings import COMPILE_LIMIT_S
from ..protocol.limits import DEFAULT_LIMITS, MAX_WINDOW_STRIDE
from .setting_values import one_of, read_buckets, read_names, read_path, read_plugin_options, read_seconds, whole


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its name in ``Settings``; ``--name`` and ``OPENVINO_RERANKER_NAME`` are made of it.
        default: Its value when it is not set.
        read: Turns text into the value; raises ValueError with what is allowed.
        help: One line for ``--help`` and SPEC.md.
        commands: The commands that take the flag.
    """

    name: str
    default: Any
    read: Callable[[str], Any]
    help: str
    commands: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """What stands for its value in ``--help``."""
        if self.read is read_path:
            return "PATH"
        return "yes|no" if self.default == "no" else self.name.rsplit("_", 1)[-1].upper()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"OPENVINO_RERANKER_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The command line flag."""
        return f"--{self.name.replace('_', '-')}"


#: The commands that start an NPU.
COMMANDS_WITH_NPU = ("serve", "worker", "doctor")
#: The commands that choose the precision of the weights.
COMMANDS_WITH_WEIGHTS = ("serve", "worker", "pull", "doctor", "bench")

SETTINGS = (
    Setting("host", "127.0.0.1", str, "address the HTTP front listens on", ("serve", "http")),
    Setting("port", 18818, whole(0, 65535), "port of the HTTP front (0: any free one)", ("serve", "http")),
    Setting(
        "allow_host",
        (),
        read_names,
        "Host names to accept besides the loopback ones, comma-separated",
        ("serve", "http"),
    ),
    Setting(
        "allow_origin",
        (),
        read_names,
        "web origins whose pages may use the service, comma-separated",
        ("serve", "http"),
    ),
    Setting("uds", None, read_path, "also serve HTTP on this Unix socket (mode 0660)", ("serve", "http")),
    Setting("timeout", 30.0, read_seconds, "time limit of an HTTP request, s", ("serve", "http")),
    Setting(
        "api_key_file",
        None,
        read_path,
        "file of API keys, one per line; callers must send one of them",
        ("serve", "http"),
    ),
    Setting(
        "strict_model",
        "no",
        one_of("yes", "no"),
        "refuse requests that name another model: yes or no",
        ("serve", "http"),
    ),
    Setting(
        "device",
        "NPU",
        one_of("NPU", "CPU", "GPU"),
        "device the worker runs on: NPU, CPU or GPU",
        (*COMMANDS_WITH_NPU, "pull"),
    ),
    Setting("model", None, str, "hub id, local folder or file, or 'packaged'", ("serve", "worker", "doctor", "bench")),
    Setting(
        "model_dir",
        None,
        read_path,
        "folder of a ready model; takes precedence over the model",
        ("serve", "worker", "doctor", "bench"),
    ),
    Setting(
        "precision",
        "auto",
        one_of("auto", "fp16", "int8"),
        "precision of the weights: fp16, int8, or auto (the fastest on this CPU that ranks as well)",
        COMMANDS_WITH_WEIGHTS,
    ),
    Setting(
        "inference_precision",
        "auto",
        one_of("f32", "bf16", "auto"),
        "precision of the arithmetic on the CPU: f32, bf16, or auto (OpenVINO chooses)",
        ("serve", "worker"),
    ),
    Setting("threads", 0, whole(0, 1024), "CPU cores the worker uses (0: all)", ("serve", "worker", "bench")),
    Setting("batch_ms", 100, whole(1, 10_000), "target device time of a batch, ms", ("serve", "broker")),
    Setting(
        "max_windows",
        DEFAULT_PLAN.max_windows,
        whole(1, DEFAULT_LIMITS.windows),
        "maximum windows for a document longer than the model's input",
        ("serve", "broker"),
    ),
    Setting(
        "window_stride",
        DEFAULT_PLAN.stride,
        whole(0, MAX_WINDOW_STRIDE),
        "tokens from the start of one window to the next (0: three quarters of a window)",
        ("serve", "broker"),
    ),
    Setting("score_cache_mb", 32, whole(0, 1 << 20), "memory of the score cache, MiB (0: none)", ("serve", "broker")),
    Setting(
        "npu_buckets", DEFAULT_BUCKETS, read_buckets, "row lengths compiled for the NPU, tokens", COMMANDS_WITH_NPU
    ),
    Setting(
        "npu_hint",
        "throughput",
        one_of("throughput", "latency"),
        "performance hint for the NPU: throughput or latency",
        COMMANDS_WITH_NPU,
    ),
    Setting(
        "npu_requests",
        0,
        whole(0, 64),
        "inferences in flight on the NPU (0: Intel's number for its generation)",
        COMMANDS_WITH_NPU,
    ),
    Setting(
        "npu_options",
        (),
        read_plugin_options,
        "further options of the NPU's plugin, KEY=VALUE, comma-separated",
        COMMANDS_WITH_NPU,
    ),
    Setting(
        "npu_compile_timeout",
        int(COMPILE_LIMIT_S),
        whole(1, 86_400),
        "time limit for compiling one row length, s",
        COMMANDS_WITH_NPU,
    ),
    Setting(
        "cache", None, read_path, "folder of models and compiled models", ("serve", "worker", "pull", "doctor", "bench")
    ),
    Setting(
        "runtime_dir",
        None,
        read_path,
        "folder of the sockets",
        ("serve", "broker", "worker", "http", "rerank", "status", "doctor", "bench", "evaluate", "bulk", "mcp"),
    ),
)
