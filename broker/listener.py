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

from ..daemon.unix_socket import SocketTaken


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


def adopt(router: "zmq.Socket[bytes]", listening: socket.socket, path: Path) -> None:
    """Let ``router`` accept its connections from ``listening``, which it owns (and closes) from now on."""
    descriptor = listening.detach()
    os.set_blocking(descriptor, False)  # one made by systemd arrives blocking, and ZeroMQ leaves it so
    router.setsockopt(zmq.USE_FD, descriptor)
    router.bind(f"ipc://{path}")
    router.setsockopt(zmq.USE_FD, -1)  # or a later bind on this socket would use it again
