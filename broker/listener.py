"""The broker's two listening sockets: made by systemd and handed over, or made here.

ZeroMQ itself would bind over the live socket of another broker without a word, make the file with whatever
the umask leaves, and accept any descriptor as a listening socket; so the socket is made or checked here and
given to ZeroMQ as a descriptor (``ZMQ_USE_FD``).
"""

import os
import socket
import stat
from pathlib import Path

import zmq

from ..protocol.socket_paths import find_listener, path_problem

#: Connections the kernel holds while the broker is busy or being restarted.
BACKLOG = 1024


class SocketTaken(Exception):
    """The socket cannot be had: another process listens there, or its path or folder is unusable."""


def make_folder(folder: Path) -> None:
    """Make the runtime folder, open to its owner alone, or check that it is this user's.

    Raises:
        SocketTaken: It belongs to another user, is open for writing to others, or is a link.
        OSError: It cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise SocketTaken(f"the runtime folder {folder} is a link, which may lead anywhere; name the folder itself")
    if found.st_uid != os.getuid():
        raise SocketTaken(f"the runtime folder {folder} belongs to uid {found.st_uid}, not to uid {os.getuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SocketTaken(f"the runtime folder {folder} is writable by others (mode {stat.S_IMODE(found.st_mode):04o})")


def listen(path: Path, mode: int) -> socket.socket:
    """Return a socket listening on ``path``; a dead broker's socket is replaced, a live one is not.

    The new socket is bound under a temporary name with its final mode and renamed into place, so nobody
    meets it half made.

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
            raise SocketTaken(
                f"another broker (pid {pid or 'unknown'}) is listening on {path}; "
                "stop it, or choose another runtime folder"
            )
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


def adopt(router: "zmq.Socket[bytes]", listening: socket.socket, path: Path) -> None:
    """Let ``router`` accept its connections from ``listening``, which it owns (and closes) from now on."""
    descriptor = listening.detach()
    os.set_blocking(descriptor, False)  # one made by systemd arrives blocking, and ZeroMQ leaves it so
    router.setsockopt(zmq.USE_FD, descriptor)
    router.bind(f"ipc://{path}")
    router.setsockopt(zmq.USE_FD, -1)  # or a later bind on this socket would use it again
