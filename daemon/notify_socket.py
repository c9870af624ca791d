"""sd_notify(3) server: receives what started processes report, with the pid of the sender."""

import socket
import struct
from pathlib import Path
from types import TracebackType

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: unix(7)
_MAX_BYTES = 4096


class NotifySocket:
    """A notification socket at ``path``, there while entered; a file left at the path is replaced.

    The caller ensures that no other process uses the path (``PidLock``).

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._socket.fileno()

    def environment(self, watchdog_s: float) -> dict[str, str]:
        """Return the environment of a process that is to report here, and to ping at least every ``watchdog_s``."""
        return {"NOTIFY_SOCKET": str(self._path.absolute()), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}

    def read(self) -> list[tuple[int, dict[str, str]]]:
        """Return what came since the last call: the sender's pid, as the kernel says, and its assignments."""
        messages: list[tuple[int, dict[str, str]]] = []
        while True:
            try:
                data, control, _flags, _address = self._socket.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return messages
            for level, kind, content in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid, _uid, _gid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                    lines = data.decode("utf-8", "replace").splitlines()
                    messages.append((pid, dict(line.split("=", 1) for line in lines if "=" in line)))

    def __enter__(self) -> "NotifySocket":
        self._path.unlink(missing_ok=True)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)
