"""A listening Unix socket: made whole, never over a live one, and with its mode from the beginning."""

import os
import socket
import stat
from pathlib import Path

from ..protocol.socket_paths import find_listener, path_problem

#: Connections the kernel holds while the listener is busy or being restarted.
BACKLOG = 1024


class SocketTaken(Exception):
    """The socket cannot be had: another process listens there, or its path or folder is unusable."""


def listen(path: Path, mode: int, taken: str) -> socket.socket:
    """Return a socket listening on ``path``; a dead listener's socket is replaced, a live one is not.

    The new socket is bound under a temporary name with its final mode and renamed into place, so nobody
    meets it half made.

    Args:
        path: Where.
        mode: The socket's mode.
        taken: What to say where somebody listens already, with ``{pid}`` and ``{path}``.

    Raises:
        SocketTaken: Somebody listens there, it is not a socket, or the path is too long.
        OSError: The folder is not writable.
    """
    if (problem := path_problem(path)) is not None:
        raise SocketTaken(problem)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise SocketTaken(f"{path} exists and is not a socket; remove it")
        if (pid := find_listener(path)) is not None:
            raise SocketTaken(taken.format(pid=pid or "unknown", path=path))
    temporary = path.with_name(f".{os.getpid()}")  # shorter than any of our names: the path may be just short enough
    temporary.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(temporary))
        finally:
            os.umask(umask)
        listening.listen(BACKLOG)
        temporary.rename(path)
    except BaseException:
        listening.close()
        temporary.unlink(missing_ok=True)
        raise
    return listening
