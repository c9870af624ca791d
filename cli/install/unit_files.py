"""The systemd units: templates in ``systemd/`` with this environment's paths put in."""

import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

Kind = Literal["user", "system"]

#: The first line of every file, by which we recognise our own.
_WRITTEN_BY = "# Written by openvino-reranker install-units"
MARK = f"{_WRITTEN_BY}, which overwrites it: change a unit with a drop-in ('systemctl edit').\n"
#: What ``ProtectHome=`` hides.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
#: The class of device files that a device needs (as ``DeviceAllow=`` calls it), and their folder.
_DEVICE_FILES = {"NPU": ("char-accel", "/dev/accel"), "GPU": ("char-drm", "/dev/dri")}


@dataclass(frozen=True, slots=True)
class TemplateValues:
    """What the templates' placeholders stand for.

    Attributes:
        environment: The environment file.
        host: The address that the HTTP socket listens on.
        port: Its port.
        device: ``NPU``, ``CPU`` or ``GPU``.
        needed: Folders the services read besides the Python environment, such as a model's.
        permanent: Exit statuses after which the worker is not restarted.
        worker_gib: The most memory the worker may take, GiB.
    """

    environment: Path
    host: str
    port: int
    device: str
    needed: tuple[Path, ...]
    permanent: Collection[int]
    worker_gib: int = 8


def python_folders() -> list[Path]:
    """Return the folders of this Python: its environment, what that was made from, and this package."""
    interpreter = Path(sys.executable).resolve().parent.parent
    return _outermost([Path(sys.prefix), Path(sys.base_prefix), interpreter, _package_folder()])


def render_units(kind: Kind, values: TemplateValues) -> dict[str, str]:
    """Return the text of each file of ``systemd/<kind>``, by name."""
    placeholders = {
        "PYTHON": quote(sys.executable),
        "ENVIRONMENT": str(values.environment).replace("%", "%%"),
        "LISTEN": _socket_address(values.host, values.port),
        "PERMANENT": " ".join(str(status) for status in sorted(values.permanent)),
        "ADDRESSES": _addresses(values.host),
        "HOME": _home(values.needed),
        "DEVICE": _device(values.device),
        "MEMORY": f"{values.worker_gib}G",
    }
    folder = Path(__file__).parents[2] / "systemd" / kind
    return {
        template.name: _fill(template.read_text("utf-8"), placeholders)
        for template in sorted(folder.glob("openvino-reranker*"))
    }


def is_ours(path: Path) -> bool:
    """Return whether the file at ``path`` was written by ``install-units``, of this version or another."""
    return path.is_file() and path.read_text("utf-8", "replace").startswith(_WRITTEN_BY)


def quote(text: str) -> str:
    """Return ``text`` quoted as one argument in a unit file (systemd.syntax(7)), with nothing in it expanded."""
    text = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unreachable(folders: Iterable[Path]) -> list[Path]:
    """Return folders, or parents of folders, that a system user cannot enter: closed to others."""
    closed = []
    for folder in folders:
        hidden = next((home for home in _HOMES if folder.is_relative_to(home)), None)
        for part in (folder, *folder.parents):
            # Folders that ProtectHome=tmpfs hides are recreated, open, on the way to what is bound into it.
            if hidden is not None and part != folder and part.is_relative_to(hidden):
                continue
            if part.exists() and not part.stat().st_mode & 0o001:
                closed.append(part)
    return sorted(set(closed))


def _package_folder() -> Path:
    return Path(__file__).resolve().parents[2]


def _fill(template: str, placeholders: dict[str, str]) -> str:
    filled = re.sub(r"@([A-Z]+)@", lambda match: placeholders[match[1]], template)
    return MARK + filled.rstrip("\n") + "\n"


def _socket_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{_numeric(host)}:{port}"


def _numeric(host: str) -> str:
    """A socket unit takes addresses, not names."""
    return "127.0.0.1" if host == "localhost" else host


def _addresses(host: str) -> str:
    if not ip_address(_numeric(host)).is_loopback:
        return ""
    return "# This machine alone, whatever becomes of ListenStream=.\nIPAddressAllow=localhost\nIPAddressDeny=any"


def _home(needed: Iterable[Path]) -> str:
    at_home = _outermost(
        folder for folder in (*python_folders(), *needed) if any(folder.is_relative_to(home) for home in _HOMES)
    )
    if not at_home:
        return "ProtectHome=yes"
    return (
        "# Not ProtectHome=yes, because this Python environment or model lies in a home; only that is shown.\n"
        f"ProtectHome=tmpfs\nBindReadOnlyPaths={' '.join(quote(str(folder)) for folder in at_home)}"
    )


def _device(device: str) -> str:
    if device not in _DEVICE_FILES:
        return "DevicePolicy=closed\nPrivateDevices=yes"
    files, folder = _DEVICE_FILES[device]
    return (
        f"# Off: PrivateDevices= and PrivateUsers=, because the {device} is {folder}/*, open to the group render.\n"
        f"DevicePolicy=closed\nDeviceAllow={files} rw\nSupplementaryGroups=render"
    )


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """Return the folders that lie in no other of them, sorted."""
    unique = sorted(set(folders))
    return [
        folder for folder in unique if not any(folder != other and folder.is_relative_to(other) for other in unique)
    ]
