"""``install-units``: the systemd units for this environment. Starts and enables nothing.

Units are ours and overwritten: changes belong in drop-ins. The environment file is its owner's: it is written once,
and from then on only read.
"""

import argparse
import math
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from ...client.over_http import API_KEY_VARIABLE
from ...daemon.atomic_write import write_atomically
from ...npu_worker.errors import PERMANENT, ModelUnusable
from ...npu_worker.model.card import WEIGHTS_FILE
from ...npu_worker.npu.memory import needed_bytes
from ...protocol.socket_paths import SYSTEM_RUNTIME_DIR
from ..addresses import url_of
from ..model_choice import find_model
from ..settings import SettingError, Settings, read_settings
from .environment_file import IN_FILE, assignment, from_anywhere, values_in, variables_in, whole_file
from .install_paths import InstallPaths, add_path_arguments
from .unit_files import Kind, TemplateValues, is_ours, python_folders, render_units, unreachable

#: The worker's ``MemoryMax=`` at least, GiB.
_LEAST_GIB = 8
_SYSTEM_CACHE = Path("/var/cache/openvino-reranker")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    add_path_arguments(parser)
    group = parser.add_argument_group("settings", "written to the environment file, if there is none yet")
    for setting in IN_FILE:
        group.add_argument(setting.flag, dest=f"setting_{setting.name}", metavar="VALUE", help=setting.help)


def run(arguments: argparse.Namespace) -> int:
    """Write the units, and the environment file if there is none; say what to run next.

    Raises:
        SettingError: A setting is wrong, or contradicts the environment file; nothing was written.
    """
    paths = InstallPaths(arguments.kind, arguments.root)
    if arguments.setting_model:
        arguments.setting_model = from_anywhere(arguments.setting_model)
    variables = _variables_given(paths)
    try:
        environment = _read(paths.environment)
        environ = variables if environment is None else values_in(environment)
        settings = read_settings(arguments, environ)
        _check_address(settings)
        if environment is not None:
            _check_flags(settings, read_settings(argparse.Namespace(), environ), paths.environment)
            _warn_of_unused(variables, environ, paths.environment)
        values = _template_values(paths, settings)
        files = {
            paths.folder_of(name) / _installed_name(name): text
            for name, text in render_units(arguments.kind, values).items()
        }
        if foreign := [path for path in files if path.exists() and not is_ours(path)]:
            print(f"openvino-reranker: {foreign[0]} was not written by install-units; move it away", file=sys.stderr)
            return 1
        for path, text in files.items():
            _write(path, text, dry_run=arguments.dry_run)
        if environment is None:
            active = {
                setting
                for setting in IN_FILE
                if getattr(arguments, f"setting_{setting.name}") or setting.variable in variables
            }
            text = whole_file(settings, active, paths.systemctl, paths.option)
            _write(paths.environment, text, dry_run=arguments.dry_run)
        else:
            print(f"{'kept':<10} {paths.environment} (yours)")
    except OSError as error:
        print(f"openvino-reranker: cannot read or write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    _warn_if_not_installed()
    if API_KEY_VARIABLE in os.environ:
        print(
            f"openvino-reranker: warning: {API_KEY_VARIABLE} is set here, but it is not written down, so the services "
            "ask for no key; use --api-key-file",
            file=sys.stderr,
        )
    if arguments.kind == "system":
        _warn_of_closed_folders(values)
    print(_next_steps(arguments.kind, settings))
    return 0


def _installed_name(template: str) -> str:
    return template.replace(".sysusers", ".conf")


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str, *, dry_run: bool) -> None:
    before = _read(path)
    if before == text:
        print(f"{'unchanged':<10} {path}")
        return
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    done = "to write" if dry_run else "written" if before is None else "updated"
    print(f"{done:<10} {path}")


def _variables_given(paths: InstallPaths) -> dict[str, str]:
    """Return what the environment says of the units, for an environment file that is not there yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The user manager may not know that variable.
    cache = {"OPENVINO_RERANKER_CACHE": f"{base}/openvino-reranker"} if paths.kind == "user" and base else {}
    return cache | variables_in(os.environ)


def _check_address(settings: Settings) -> None:
    try:
        ip_address("127.0.0.1" if settings.host == "localhost" else settings.host)
    except ValueError:
        raise SettingError(f"host is {settings.host!r}; a socket unit needs an address, such as 127.0.0.1") from None
    if not settings.port:
        raise SettingError("port is 0; a socket unit needs a port of its own, such as 18818")


def _check_flags(settings: Settings, in_file: Settings, file: Path) -> None:
    """Refuse flags that the services would not see.

    Raises:
        SettingError: The environment file says something else.
    """
    lines = [
        assignment(setting, getattr(settings, setting.name))
        for setting in IN_FILE
        if getattr(settings, setting.name) != getattr(in_file, setting.name)
    ]
    if lines:
        raise SettingError(
            f"{file} holds the settings, and install-units does not change it: write there\n  "
            + "\n  ".join(lines)
            + "\nand run install-units again without the flags"
        )


def _warn_of_unused(variables: dict[str, str], in_file: dict[str, str], file: Path) -> None:
    for variable in sorted(variables.keys() - in_file.keys()):
        print(
            f"openvino-reranker: warning: {variable} is set here, but the services get their settings from {file}",
            file=sys.stderr,
        )


def _template_values(paths: InstallPaths, settings: Settings) -> TemplateValues:
    needed = [settings.model_dir] if settings.model_dir else []
    if settings.model and (path := Path(settings.model).expanduser()).is_absolute() and path.exists():
        needed.append(path)
    return TemplateValues(
        environment=paths.environment_as_seen,
        host=settings.host,
        port=settings.port,
        device=settings.device,
        needed=tuple(folder.resolve() for folder in needed),
        permanent=PERMANENT,
        worker_gib=worker_gib(settings),
    )


def worker_gib(settings: Settings) -> int:
    """Return the worker's memory limit, GiB: 1.5 times what its model may take on an NPU, at least 8."""
    try:
        weights = (find_model(settings) / WEIGHTS_FILE).stat().st_size
    except (ModelUnusable, OSError):
        return _LEAST_GIB  # not there yet: the default model takes less
    return max(_LEAST_GIB, math.ceil(needed_bytes(weights, 0, len(settings.npu_buckets)) * 1.5 / 2**30))


def _warn_if_not_installed() -> None:
    environ = {variable: value for variable, value in os.environ.items() if variable != "PYTHONPATH"}
    tried = subprocess.run([sys.executable, "-P", "-c", "import openvino_reranker"], env=environ, capture_output=True)
    if tried.returncode:
        print(
            f"openvino-reranker: warning: it is not installed for {sys.executable}, so the services will not start; "
            "install it there ('pip install openvino-reranker[all]', in a checkout 'make install')",
            file=sys.stderr,
        )


def _warn_of_closed_folders(values: TemplateValues) -> None:
    for folder in unreachable([*python_folders(), *values.needed]):
        print(
            f"openvino-reranker: warning: {folder} is not readable by other users, so the services' user "
            "cannot use it; change its permissions, or install into a folder like /opt/openvino-reranker",
            file=sys.stderr,
        )


def _next_steps(kind: Kind, settings: Settings) -> str:
    check = f"  openvino-reranker smoke --url {url_of(settings.host, settings.port)}"
    device = "" if settings.device == "NPU" else f" --device {settings.device}"
    if kind == "user":
        return f"""
next (nothing was started or enabled):
  {f"openvino-reranker pull{device}":<54} # if there is no model yet
  systemctl --user daemon-reload
  systemctl --user enable --now openvino-reranker.target
{check}
to keep it running while you are not logged in: loginctl enable-linger
after a change of settings: systemctl --user daemon-reload; systemctl --user restart openvino-reranker.target
after another host or port also: systemctl --user restart openvino-reranker-http.socket"""
    return f"""
next, as root (nothing was started or enabled):
  systemd-sysusers                                       # creates the user openvino-reranker
  openvino-reranker pull --cache {_SYSTEM_CACHE}{device}
  systemctl daemon-reload
  systemctl enable --now openvino-reranker.target
{check}
to let a user use {SYSTEM_RUNTIME_DIR}/requests.sock: usermod -aG openvino-reranker NAME
after a change of settings: systemctl daemon-reload; systemctl restart openvino-reranker.target
after another host or port also: systemctl restart openvino-reranker-http.socket"""
