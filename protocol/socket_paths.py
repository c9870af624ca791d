"""Where the sockets are, and whether this user may use them."""

import errno
import os
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from .errors import Unavailable

RUNTIME_DIR_VARIABLE = "OPENVINO_RERANKER_RUNTIME_DIR"
REQUESTS_SOCKET = "requests.sock"
WORKERS_SOCKET = "workers.sock"
#: Where the system units put the sockets.
SYSTEM_RUNTIME_DIR = Path("/run/openvino-reranker")
#: ``sun_path`` holds 108 bytes with its final NUL (unix(7)).
MAX_SOCKET_PATH_BYTES = 107


def runtime_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the sockets.

    ``OPENVINO_RERANKER_RUNTIME_DIR`` if set, else ``openvino-reranker`` under ``$XDG_RUNTIME_DIR``, else
    (no login session) a folder of this user under ``/tmp``.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get(RUNTIME_DIR_VARIABLE):
        return Path(named)
    if session := environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "openvino-reranker"
    return Path("/tmp") / f"openvino-reranker-{os.getuid()}"  # noqa: S108  (made 0700 and checked by its maker)


def find_requests_socket(environ: Mapping[str, str] | None = None) -> Path:
    """Return the broker's socket for clients: this user's, or the machine's where only that exists."""
    environ = os.environ if environ is None else environ
    own = runtime_dir(environ) / REQUESTS_SOCKET
    machine = SYSTEM_RUNTIME_DIR / REQUESTS_SOCKET
    if not environ.get(RUNTIME_DIR_VARIABLE) and not _exists(own) and _exists(machine):
        return machine
    return own


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # also where this user may not look
        return False
    return True


def path_problem(path: Path) -> str | None:
    """Return why this path is too long for a socket, and what to do; None if it is not."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return None
    return (
        f"the socket path {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes; "
        f"set {RUNTIME_DIR_VARIABLE} to a shorter folder"
    )


def check_socket(path: Path) -> None:
    """Check that ``path`` is a socket this user may connect to: ZeroMQ itself would retry forever without an error.

    Raises:
        Unavailable: Nothing there, not a socket, forbidden, or the path is too long; says what to do.
    """
    if (problem := path_problem(path)) is not None:
        raise Unavailable(problem)
    try:
        mode = path.stat().st_mode
        _check_folder(path.parent)
    except FileNotFoundError:
        raise Unavailable(
            f"no rerank service: {path} does not exist; start it with 'openvino-reranker serve' (or its systemd units)"
        ) from None
    except PermissionError:
        raise Unavailable(f"no permission to reach {path}; its directory is closed to uid {os.getuid()}") from None
    except OSError as error:
        raise Unavailable(f"no rerank service at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise Unavailable(f"{path} is not a socket; remove it and start the service again")
    if not os.access(path, os.W_OK):
        raise Unavailable(
            f"no permission to connect to {path} (mode {stat.S_IMODE(mode):04o}) as uid {os.getuid()}; "
            "join the socket's group or ask its owner"
        )


def _check_folder(folder: Path) -> None:
    """Check that a folder right under ``/tmp``, where anybody may make one, is this user's or root's.

    Raises:
        Unavailable: It is not, or is a link, or others may write to it.
        OSError: It cannot be inspected.
    """
    if folder.parent != Path("/tmp"):  # noqa: S108
        return
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise Unavailable(f"{folder} is not a directory (symlink or file); refusing to send texts to it")
    if status.st_uid not in (os.getuid(), 0):
        raise Unavailable(f"{folder} belongs to uid {status.st_uid}, not to you; refusing to send texts to it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(
            f"{folder} is writable by others (mode {stat.S_IMODE(status.st_mode):04o}); refusing to send texts to it"
        )


def check_listening(path: Path) -> None:
    """Check that a process listens on the socket at ``path`` (a broker, or systemd in its place); does not wait.

    Raises:
        Unavailable: The socket is a dead broker's, left behind.
    """
    try:
        listener = find_listener(path)
    except OSError as error:
        raise Unavailable(f"cannot connect to {path}: {error}") from None
    if listener is None:
        raise Unavailable(f"no rerank service: nothing is listening on {path}; start it with 'openvino-reranker serve'")


def find_listener(path: Path) -> int | None:
    """Return the pid of the process that opened the listening socket at ``path``; does not wait.

    None if no process listens there, 0 if one does that the kernel does not name (its backlog is full).

    Raises:
        OSError: That cannot be determined, for example because this user may not connect.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return 0  # its backlog is full
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return None
            raise
        pid, _uid, _gid = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)
