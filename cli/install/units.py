"""``install-units`` and ``uninstall-units``: the systemd units for this environment. Starts and enables nothing."""

import argparse
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from ...npu_worker.errors import PERMANENT
from ...protocol.socket_paths import SYSTEM_RUNTIME_DIR
from ..addresses import url_of
from ..settings import SettingError, Settings, read_settings
from .environment_file import ENCODING, IN_FILE, from_anywhere, given_here, values_in, whole_file, with_values
from .stamped_file import StampedFile, is_ours
from .unit_files import Kind, Values, python_folders, render_units, unreachable

_SYSTEM_CACHE = Path("/var/cache/openvino-reranker")


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the arguments of ``install-units`` or ``uninstall-units``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", dest="kind", action="store_const", const="user", help="units of this user (default)")
    where.add_argument("--system", dest="kind", action="store_const", const="system", help="units of the machine")
    parser.set_defaults(kind="user")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="with --system: below DIR")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    if command == "uninstall-units":
        return
    parser.add_argument("--replace", action="store_true", help="replace files changed by hand; the old one is kept (~)")
    group = parser.add_argument_group("settings", "go to the environment file, whose own values hold otherwise")
    for setting in IN_FILE:
        group.add_argument(setting.flag, dest=f"setting_{setting.name}", metavar="VALUE", help=setting.help)


def install(arguments: argparse.Namespace) -> int:
    """Write units and environment file, keep what was changed by hand, and say what to run next."""
    places = _Places(arguments.kind, arguments.root)
    try:
        present = places.environment.read_text(**ENCODING) if places.environment.exists() else ""
    except OSError as error:
        print(f"openvino-reranker: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    in_file = values_in(present)
    environ = _defaults(places) | given_here(os.environ) | in_file
    if arguments.setting_model:
        arguments.setting_model = from_anywhere(arguments.setting_model)
    try:
        settings = read_settings(arguments, environ)
        _check_address(settings)
    except SettingError as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 2
    flags = {each: text for each in IN_FILE if (text := getattr(arguments, f"setting_{each.name}")) is not None}
    active = {each for each in IN_FILE if flags.get(each, environ.get(each.variable))}
    needed = [settings.model_dir] if settings.model_dir else []
    if settings.model and (path := Path(settings.model).expanduser()).is_absolute() and path.exists():
        needed.append(path)
    values = Values(
        environment=places.environment_as_seen,
        host=settings.host,
        port=settings.port,
        device=settings.device,
        needed=tuple(each.resolve() for each in needed),
        permanent=PERMANENT,
    )
    files = [
        StampedFile(places.folder_of(name) / _installed_name(name), text)
        for name, text in render_units(arguments.kind, values).items()
    ]
    environment = StampedFile(places.environment, whole_file(settings, active, places.systemctl, places.option))
    # A person's file is kept; what was said elsewhere, and is not in it yet, must reach the services all the same.
    edited = with_values(present, settings, flags.keys() | {each for each in active if each.variable not in in_file})
    try:
        for file in files:
            _put(file, replace=arguments.replace, dry_run=arguments.dry_run)
        if environment.state() == "changed" and not arguments.replace and edited.rstrip() != present.rstrip():
            _edit(environment, edited, dry_run=arguments.dry_run)
        else:
            _put(environment, replace=arguments.replace, dry_run=arguments.dry_run)
    except OSError as error:
        print(f"openvino-reranker: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    _warn_if_not_installed()
    if arguments.kind == "system":
        _warn_of_closed_folders(values)
    print(_next_steps(arguments.kind, settings))
    return 0


def uninstall(arguments: argparse.Namespace) -> int:
    """Remove what ``install-units`` wrote; keep, and name, what was changed by hand."""
    places = _Places(arguments.kind, arguments.root)
    enabled = [link for link in places.units.glob("*.wants/openvino-reranker*") if link.is_symlink()]
    if enabled:
        print(
            f"openvino-reranker: the units are still enabled ({enabled[0]}); first run:\n"
            f"  {places.systemctl} disable --now openvino-reranker.target openvino-reranker-worker.service",
            file=sys.stderr,
        )
        return 1
    found = [
        path
        for folder in dict.fromkeys((places.units, places.sysusers))
        for path in sorted(folder.glob("openvino-reranker*"))
        if is_ours(path)
    ]
    found += [places.environment] if is_ours(places.environment) else []
    try:
        for path in found:
            if not StampedFile(path).untouched():
                print(f"kept       {path} (changed by hand; remove it yourself)")
                continue
            if not arguments.dry_run:
                path.unlink()
            print(f"{'to remove' if arguments.dry_run else 'removed':<10} {path}")
        if (
            not arguments.dry_run
            and places.environment.parent.is_dir()
            and not any(places.environment.parent.iterdir())
        ):
            places.environment.parent.rmdir()
    except OSError as error:
        print(f"openvino-reranker: cannot remove {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"\nnext:\n  {places.systemctl} daemon-reload" if found else "nothing of ours is installed there")
    return 0


class _Places:
    """Where the files of a kind of installation lie."""

    def __init__(self, kind: Kind, root: Path) -> None:
        self.kind = kind
        if kind == "user":
            configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()).absolute()
            self.units = configuration / "systemd" / "user"
            self.environment = self.environment_as_seen = configuration / "openvino-reranker" / "environment"
            self.sysusers = self.units
            self.systemctl, self.option = "systemctl --user", ""
        else:
            self.units = root / "etc" / "systemd" / "system"
            self.environment_as_seen = Path("/etc/openvino-reranker/environment")
            self.environment = root / "etc" / "openvino-reranker" / "environment"
            self.sysusers = root / "etc" / "sysusers.d"
            self.systemctl, self.option = "systemctl", " --system"

    def folder_of(self, template: str) -> Path:
        return self.sysusers if template.endswith(".sysusers") else self.units


def _installed_name(template: str) -> str:
    return template.replace(".sysusers", ".conf")


def _put(file: StampedFile, *, replace: bool, dry_run: bool) -> None:
    state = file.state()
    done = {"absent": "written", "outdated": "updated", "changed": "replaced", "unchanged": "unchanged"}[state]
    if state == "changed" and not replace:
        print(f"kept       {file.path} (changed by hand; --replace puts ours in its place). The difference:")
        print(file.difference(), end="")
        return
    if dry_run and state != "unchanged":
        print(f"to write   {file.path}")
        print(file.difference(), end="")
        return
    if state == "changed":
        print(f"set aside  {file.set_aside()}")
    if state != "unchanged":
        file.write()
    print(f"{done:<10} {file.path}")


def _edit(file: StampedFile, text: str, *, dry_run: bool) -> None:
    """Change a person's file to ``text``, and show what was changed."""
    print(f"{'to edit' if dry_run else 'edited':<10} {file.path} (changed by hand: only what was asked for now)")
    print(file.difference(text), end="")
    if not dry_run:
        file.edit(text)


def _defaults(places: _Places) -> dict[str, str]:
    """Return what holds for the units where nobody says otherwise, beside the settings' own defaults."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The user manager may not know that variable.
    return {"OPENVINO_RERANKER_CACHE": f"{base}/openvino-reranker"} if places.kind == "user" and base else {}


def _check_address(settings: Settings) -> None:
    try:
        ip_address("127.0.0.1" if settings.host == "localhost" else settings.host)
    except ValueError:
        raise SettingError(f"host is {settings.host!r}; a socket unit needs an address, such as 127.0.0.1") from None
    if not settings.port:
        raise SettingError("port is 0; a socket unit needs a port of its own, such as 18818")


def _warn_if_not_installed() -> None:
    environ = {variable: value for variable, value in os.environ.items() if variable != "PYTHONPATH"}
    tried = subprocess.run([sys.executable, "-P", "-c", "import openvino_reranker"], env=environ, capture_output=True)
    if tried.returncode:
        print(
            f"openvino-reranker: warning: it is not installed for {sys.executable}, so the services will not start; "
            "install it there ('pip install openvino-reranker[all]', in a checkout 'make install')",
            file=sys.stderr,
        )


def _warn_of_closed_folders(values: Values) -> None:
    for folder in unreachable([*python_folders(), *values.needed]):
        print(
            f"openvino-reranker: warning: {folder} is closed to other users, so the services' user cannot read it; "
            "open it, or install into a folder like /opt/openvino-reranker",
            file=sys.stderr,
        )


def _next_steps(kind: Kind, settings: Settings) -> str:
    check = f"  openvino-reranker smoke --url {url_of(settings.host, settings.port)}"
    if kind == "user":
        return f"""
next (nothing was started or enabled):
  openvino-reranker pull                                 # if there is no model yet
  systemctl --user daemon-reload
  systemctl --user enable --now openvino-reranker.target
{check}
also while you are not logged in: loginctl enable-linger
after a change: systemctl --user daemon-reload; systemctl --user restart openvino-reranker.target
after another host or port also: systemctl --user restart openvino-reranker-http.socket"""
    return f"""
next, as root (nothing was started or enabled):
  systemd-sysusers                                       # makes the user openvino-reranker
  openvino-reranker pull --cache {_SYSTEM_CACHE}
  systemctl daemon-reload
  systemctl enable --now openvino-reranker.target
{check}
who may use {SYSTEM_RUNTIME_DIR}/requests.sock: usermod -aG openvino-reranker NAME
after a change: systemctl daemon-reload; systemctl restart openvino-reranker.target
after another host or port also: systemctl restart openvino-reranker-http.socket"""
