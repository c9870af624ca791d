"""Where the files of an installation lie, and the flags that choose it."""

import argparse
import os
from pathlib import Path

from .unit_files import Kind


def add_path_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", dest="kind", action="store_const", const="user", help="units of this user (default)")
    where.add_argument("--system", dest="kind", action="store_const", const="system", help="units of the machine")
    parser.set_defaults(kind="user")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="with --system: use DIR as the root of the file system",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


class InstallPaths:
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
        """Return where a template's file goes."""
        return self.sysusers if template.endswith(".sysusers") else self.units
