"""Every setting: one table of environment variables and flags. A flag takes precedence over its variable."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..broker.core import DEFAULT_PLAN
from ..npu_worker.model.cache_root import cache_root
from ..npu_worker.npu.bucket_plan import DEFAULT_BUCKETS
from ..npu_worker.npu.plugin_options import read_options
from ..npu_worker.npu.settings import COMPILE_LIMIT_S
from ..protocol.limits import DEFAULT_LIMITS
from ..protocol.socket_paths import REQUESTS_SOCKET, find_requests_socket, path_problem, runtime_dir


class SettingError(Exception):
    """A setting has a value it cannot have; the message names the setting."""


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
        if self.read is _path:
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


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        folded = {choice.lower(): choice for choice in choices}
        if text.lower() not in folded:
            raise ValueError(f"one of {', '.join(choices)}")
        return folded[text.lower()]

    return read


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 600:
        raise ValueError("seconds, more than 0 and at most 600")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _buckets(text: str) -> tuple[int, ...]:
    parts = _names(text)
    if not parts or not all(part.isdecimal() and 16 <= int(part) <= 8192 for part in parts):
        raise ValueError("numbers of tokens from 16 to 8192, comma-separated")
    return tuple(sorted({int(part) for part in parts}))


def _options(text: str) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in read_options(text).items())


def _path(text: str) -> Path:
    return Path(text).expanduser()


_NPU = ("serve", "worker", "doctor")
_WEIGHTS = ("serve", "worker", "pull", "doctor", "bench")
#: What ``--exact`` stands for.
_EXACT = {"precision": "fp16", "inference_precision": "f32"}

SETTINGS = (
    Setting("host", "127.0.0.1", str, "address the HTTP front listens on", ("serve", "http")),
    Setting("port", 18818, _whole(0, 65535), "its port (0: any free one)", ("serve", "http")),
    Setting(
        "allow_host", (), _names, "Host names to accept besides the loopback ones, comma-separated", ("serve", "http")
    ),
    Setting(
        "allow_origin", (), _names, "web origins whose pages may use the service, comma-separated", ("serve", "http")
    ),
    Setting("uds", None, _path, "also serve HTTP on this Unix socket (mode 0660)", ("serve", "http")),
    Setting("timeout", 30.0, _seconds, "time limit of an HTTP request, s", ("serve", "http")),
    Setting(
        "api_key_file",
        None,
        _path,
        "file of API keys, one per line; callers must send one of them",
        ("serve", "http"),
    ),
    Setting(
        "strict_model",
        "no",
        _one_of("yes", "no"),
        "refuse requests that name another model: yes or no",
        ("serve", "http"),
    ),
    Setting(
        "device",
        "NPU",
        _one_of("NPU", "CPU", "GPU"),
        "device the worker runs on: NPU, CPU or GPU",
        (*_NPU, "pull"),
    ),
    Setting("model", None, str, "hub id, local folder or file, or 'packaged'", ("serve", "worker", "doctor", "bench")),
    Setting(
        "model_dir",
        None,
        _path,
        "folder of a ready model; takes precedence over the model",
        ("serve", "worker", "doctor", "bench"),
    ),
    Setting(
        "precision",
        "auto",
        _one_of("auto", "fp16", "int8"),
        "precision of the weights: fp16, int8, or auto (the fastest on this CPU that ranks as well)",
        _WEIGHTS,
    ),
    Setting(
        "inference_precision",
        "auto",
        _one_of("f32", "bf16", "auto"),
        "precision of the arithmetic on the CPU: f32, bf16, or auto (OpenVINO chooses)",
        ("serve", "worker"),
    ),
    Setting("threads", 0, _whole(0, 1024), "CPU cores the worker uses (0: all)", ("serve", "worker", "bench")),
    Setting("batch_ms", 100, _whole(1, 10_000), "target device time of a batch, ms", ("serve", "broker")),
    Setting(
        "max_windows",
        DEFAULT_PLAN.max_windows,
        _whole(1, DEFAULT_LIMITS.windows),
        "most windows to read a document in that is longer than the model's input",
        ("serve", "broker"),
    ),
    Setting(
        "window_stride",
        DEFAULT_PLAN.stride,
        _whole(0, 1 << 20),
        "tokens from the start of one window to the next (0: three quarters of a window)",
        ("serve", "broker"),
    ),
    Setting("score_cache_mb", 32, _whole(0, 1 << 20), "memory of the score cache, MiB (0: none)", ("serve", "broker")),
    Setting("npu_buckets", DEFAULT_BUCKETS, _buckets, "row lengths compiled for the NPU, tokens", _NPU),
    Setting(
        "npu_hint",
        "throughput",
        _one_of("throughput", "latency"),
        "performance hint for the NPU: throughput or latency",
        _NPU,
    ),
    Setting(
        "npu_requests", 0, _whole(0, 64), "inferences in flight on the NPU (0: Intel's number for its generation)", _NPU
    ),
    Setting("npu_options", (), _options, "further options of the NPU's plugin, KEY=VALUE, comma-separated", _NPU),
    Setting(
        "npu_compile_timeout",
        int(COMPILE_LIMIT_S),
        _whole(1, 86_400),
        "time limit for compiling one row length, s",
        _NPU,
    ),
    Setting(
        "cache", None, _path, "folder of models and compiled models", ("serve", "worker", "pull", "doctor", "bench")
    ),
    Setting(
        "runtime_dir",
        None,
        _path,
        "folder of the sockets",
        ("serve", "broker", "worker", "http", "rerank", "status", "doctor", "bench", "evaluate", "bulk", "mcp"),
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force. Folders that were not set are where the XDG conventions put them."""

    host: str
    port: int
    allow_host: tuple[str, ...]
    allow_origin: tuple[str, ...]
    uds: Path | None
    timeout: float
    api_key_file: Path | None
    strict_model: str
    device: str
    model: str | None
    model_dir: Path | None
    precision: str
    inference_precision: str
    threads: int
    batch_ms: int
    max_windows: int
    window_stride: int
    score_cache_mb: int
    npu_buckets: tuple[int, ...]
    npu_hint: str
    npu_requests: int
    npu_options: tuple[str, ...]
    npu_compile_timeout: int
    cache: Path
    runtime_dir: Path
    requests_socket: Path


def add_settings(parser: argparse.ArgumentParser, command: str) -> None:
    """Give ``parser`` the flags of the settings that ``command`` takes."""
    taken = [setting for setting in SETTINGS if command in setting.commands]
    if not taken:
        return
    group = parser.add_argument_group("settings", "each is also an environment variable; the flag takes precedence")
    for setting in taken:
        default = ",".join(map(str, setting.default)) if isinstance(setting.default, tuple) else setting.default
        shown = "" if default in (None, "") else f" (default {default})"
        group.add_argument(
            setting.flag,
            dest=f"setting_{setting.name}",
            metavar=setting.metavar,
            help=f"{setting.help}{shown} [{setting.variable}]".replace("%", "%%"),
        )

    if command in _WEIGHTS:
        group.add_argument(
            "--exact",
            action="store_true",
            help="the model's own scores rather than the fastest: the same as --precision fp16 "
            "--inference-precision f32",
        )


def read_settings(arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force: flags, else environment, else defaults. An empty variable is not set.

    Raises:
        SettingError: A value is not allowed; the message names the flag or variable and what is allowed.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        argument = getattr(arguments, f"setting_{setting.name}", None)
        where, text = (
            (setting.flag, argument) if argument is not None else (setting.variable, environ.get(setting.variable))
        )
        if getattr(arguments, "exact", False) and (exact := _EXACT.get(setting.name)) is not None:
            if argument not in (None, exact):
                raise SettingError(f"{where} is {text!r}, and --exact means {exact}: give one of them")
            text = exact
        if text is None or text == "":
            values[setting.name] = setting.default
            continue
        try:
            values[setting.name] = setting.read(text)
        except ValueError as error:
            raise SettingError(f"{where} is {text!r}; it must be {error}") from None
    if values["cache"] is None:
        values["cache"] = cache_root(environ)
    named = values["runtime_dir"] is not None
    values["runtime_dir"] = values["runtime_dir"] or runtime_dir(environ)
    if hasattr(arguments, "setting_runtime_dir"):  # a command that uses the sockets
        problem = path_problem(values["runtime_dir"] / REQUESTS_SOCKET)
        if problem is not None:
            raise SettingError(problem)
    values["requests_socket"] = values["runtime_dir"] / REQUESTS_SOCKET if named else find_requests_socket(environ)
    return Settings(**values)


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, for a child process with the same settings."""
    environment = {}
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        if value is not None and value != ():
            environment[setting.variable] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return environment
