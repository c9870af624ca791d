"""The two sockets that a broker listens on: their files, modes, and who removes them."""

import socket
from collections.abc import Collection
from pathlib import Path

from ..daemon.unix_socket import listen
from ..protocol.socket_paths import REQUESTS_SOCKET, WORKERS_SOCKET
from .runtime_folder import make_folder

#: By name: the file in the runtime folder, and its mode.
_FILES = {"requests": (REQUESTS_SOCKET, 0o660), "workers": (WORKERS_SOCKET, 0o600)}


class OwnSockets:
    """Listening sockets made here, and removed by ``close``.

    Args:
        folder: Where; made if missing.
        exclude: Names of sockets that are there already.

    Attributes:
        listening: The sockets by name: ``requests`` and ``workers``.

    Raises:
        SocketTaken: Another broker runs in the folder, or the folder is not this user's.
        OSError: They cannot be made.
    """

    def __init__(self, folder: Path, exclude: Collection[str] = ()) -> None:
        self.listening: dict[str, socket.socket] = {}
        self._paths: list[Path] = []
        try:
            for name, (file, mode) in _FILES.items():
                if name in exclude:
                    continue
                make_folder(folder)
                self.listening[name] = listen(
                    folder / file,
                    mode,
                    "another broker (pid {pid}) is listening on {path}; stop it, or choose another runtime folder",
                )
                self._paths.append(folder / file)
        except BaseException:  # one without the other is useless, and a socket file without a listener misleads
            self.close()
            raise

    def remove(self) -> None:
        """Remove the files: nobody connects any more, and who is connected stays so."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the files and close the sockets."""
        self.remove()
        for listening in self.listening.values():
            listening.close()


def path_of(name: str, listening: socket.socket, folder: Path) -> Path:
    """Return where clients find a socket: by the name it was bound to, or by the one it was given afterwards."""
    bound = Path(listening.getsockname())
    return bound if bound.exists() else folder / _FILES[name][0]
