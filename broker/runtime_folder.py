"""The folder of the sockets, which no other user may control."""

import os
import stat
from pathlib import Path

from ..daemon.unix_socket import SocketTaken


def make_folder(folder: Path) -> None:
    """Make the runtime folder, open to its owner alone, or check that it is this user's.

    Raises:
        SocketTaken: It belongs to another user, is writable by others, or is a symlink.
        OSError: It cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise SocketTaken(f"the runtime folder {folder} is a symlink; give the folder itself")
    if status.st_uid != os.getuid():
        raise SocketTaken(f"the runtime folder {folder} belongs to uid {status.st_uid}, not to uid {os.getuid()}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SocketTaken(
            f"the runtime folder {folder} is writable by others (mode {stat.S_IMODE(status.st_mode):04o})"
        )
