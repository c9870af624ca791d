"""A status as status pages and programs read it: what the broker says, and what the kernel says of the processes."""

import os
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..protocol.errors import RerankError
from ..protocol.status_messages import CallerStatus, Status

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def report(look: Status | RerankError) -> dict[str, Any]:
    """Return everything there is to show, or why there is nothing, as JSON's types."""
    if isinstance(look, RerankError):
        body: dict[str, Any] = {"ready": False, "reason": look.message}
        pids: dict[str, int | None] = {"http": os.getpid()}
    else:
        body = msgspec.to_builtins(look)
        for key in ("type", "id"):
            body.pop(key, None)
        body["callers"] = [_caller(caller) for caller in look.callers]
        pids = look.pids() | {"http": os.getpid()}
    processes = {name: {"pid": pid, "bytes": pid and resident_bytes(pid)} for name, pid in pids.items()}
    return {"version": __version__} | body | {"pids": pids, "processes": processes}


def _caller(caller: CallerStatus) -> dict[str, Any]:
    """Describe a caller; ``program`` is its name where it is a process (``uid:pid``) that can be seen from here."""
    _, _, pid = caller.name.partition(":")
    program = program_of(int(pid)) if pid.isascii() and pid.isdecimal() and len(pid) <= 10 else None
    return msgspec.to_builtins(caller) | {"program": program}  # type: ignore[no-any-return]


def resident_bytes(pid: int) -> int | None:
    """Return a process's resident memory, bytes; None if it cannot be seen from here."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def program_of(pid: int) -> str | None:
    """Return the name of a process's program; None if it cannot be seen from here."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip() or None
    except OSError:
        return None
