"""The settings in force, from flags and environment variables. A flag takes precedence over its variable."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..npu_worker.model.cache_root import cache_root
from ..protocol.socket_paths import REQUESTS_SOCKET, find_requests_socket, path_problem, runtime_dir
from .setting_table import COMMANDS_WITH_WEIGHTS, SETTINGS


class SettingError(Exception):
    """A setting has a value it cannot have; the message names the setting."""


#: What ``--exact`` stands for.
EXACT = {"precision": "fp16", "inference_precision": "f32"}


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

    if command in COMMANDS_WITH_WEIGHTS:
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
        if getattr(arguments, "exact", False) and (exact := EXACT.get(setting.name)) is not None:
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
        # What is not set is written too, as empty: the child may find another value in the environment it inherits.
        shown = "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        environment[setting.variable] = shown
    return environment
