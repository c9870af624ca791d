"""What the service itself needs: a model, a cache that can be written, sockets, no other worker."""

import fcntl
import os
import shutil
from pathlib import Path

from ...protocol.socket_paths import REQUESTS_SOCKET, WORKERS_SOCKET, find_listener
from ..model.errors import ModelError
from ..model.store import load
from .findings import Finding, ok, problem, warning

#: Compiled buckets of a large model, bytes.
_ROOM = 2_000_000_000


def check_model(folder: Path) -> Finding:
    """Look at a ready model's files."""
    try:
        model = load(folder)
    except ModelError as error:
        return problem("model", str(error), "openvino-reranker pull")
    card = model.card
    return ok(
        "model",
        f"{card.name} ({card.precision}, {card.max_length} tokens, {card.how}, {card.architecture}), "
        f"{model.size / 1e6:.0f} MB in {folder}",
    )


def check_cache(folder: Path, compiled: Path) -> Finding:
    """Look at the folder of models and compiled buckets."""
    existing = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not os.access(existing, os.W_OK):
        return problem("cache", f"{existing} cannot be written", "name another folder with --cache")
    free = shutil.disk_usage(existing).free
    blobs = list(compiled.glob("*.blob"))
    marks = list(compiled.glob("*.poisoned"))
    size = sum(blob.stat().st_size for blob in blobs)
    shown = f"{folder}: {free / 1e9:.0f} GB free, {len(blobs)} compiled buckets ({size / 1e6:.0f} MB)"
    if marks:
        return warning(
            "cache",
            f"{shown}; {len(marks)} marked as failing to compile",
            "openvino-reranker doctor --npu tries them again",
        )
    if free < _ROOM:
        return warning("cache", shown, "free some space: models and compiled buckets need up to 2 GB")
    return ok("cache", shown)


def check_sockets(runtime_dir: Path) -> list[Finding]:
    """Look at the broker's sockets and at who owns the device."""
    findings = []
    for name in (REQUESTS_SOCKET, WORKERS_SOCKET):
        path = runtime_dir / name
        if not path.exists():
            findings.append(ok("socket", f"{path} does not exist: no service runs here"))
            continue
        findings.append(_listener(path))
    owned = ((lock, _owner(lock)) for lock in sorted(runtime_dir.glob("worker-*.lock")))
    return findings + [ok("device lock", f"{lock} is held by pid {owner}") for lock, owner in owned if owner]


def _listener(path: Path) -> Finding:
    try:
        pid = find_listener(path)
    except PermissionError:
        return ok("socket", f"{path} is closed to this user: not checked")
    except OSError as error:
        return warning("socket", f"{path}: {error.strerror}", "start the service: it replaces the socket")
    if pid is None:
        return warning("socket", f"{path}: nothing is listening", "start the service: it replaces the socket")
    return ok("socket", f"{path}: a process is listening")


def _owner(lock: Path) -> str | None:
    """Return who holds a lock, or None if nobody does."""
    try:
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(32).decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return None
    return None
