"""What a service manager does for a service: holds its sockets, starts it with them, hears its words."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from openvino_reranker.tests.processes import clean_environment

#: Gives the child its descriptors from 3 on, as sd_listen_fds(3) says, then becomes the program.
_LAUNCHER = """
import fcntl, os, sys
passed = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 100) for each in sys.argv[1].split(",")]
for number, descriptor in enumerate(passed):
    os.dup2(descriptor, 3 + number)
    os.close(descriptor)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def unix_listener(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen(128)
    return listening


def start_with_sockets(
    sockets: "dict[str, socket.socket]",
    *arguments: str,
    stderr: int = subprocess.DEVNULL,
    environment: dict[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start ``python ARGUMENTS`` with sockets that stay ours too."""
    names = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    numbers = [each.fileno() for each in sockets.values()]
    return subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, ",".join(map(str, numbers)), *arguments],
        env=clean_environment(**names, **(environment or {})),
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        stderr=stderr,
    )


class KeptService:
    """A program restarted whenever it ends, its sockets held all the while."""

    def __init__(self, sockets: "dict[str, socket.socket]", *arguments: str) -> None:
        self._sockets, self._arguments = sockets, arguments
        self.statuses: list[int] = []
        self._stopping = False
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return start_with_sockets(self._sockets, *self._arguments)

    def _watch(self) -> None:
        while True:
            self.statuses.append(self._process.wait())
            if self._stopping:
                return
            self._process = self._start()

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and return when another process has taken the place of the one that got it."""
        before = self._process.pid
        self._process.send_signal(number)
        while self._process.pid == before:
            time.sleep(0.01)

    def __enter__(self) -> "KeptService":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._process.send_signal(signal.SIGTERM)
        self._watcher.join()
        for each in self._sockets.values():
            each.close()


class NotifySocket:
    """The receiving end of sd_notify: keeps every assignment, with the time it came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.1)
        self._said: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while not self._stopping:
            try:
                datagram = self._socket.recv(65536)
            except TimeoutError:
                continue
            with self._changed:
                self._said += [(time.monotonic(), line) for line in datagram.decode().splitlines()]
                self._changed.notify_all()

    @property
    def said(self) -> list[str]:
        with self._changed:
            return [text for _, text in self._said]

    def times(self, start: str) -> list[float]:
        with self._changed:
            return [when for when, text in self._said if text.startswith(start)]

    def wait_for(self, part: str, timeout: float = 20.0, *, count: int = 1) -> str:
        """Return the first assignment that holds ``part``, or the one after so many."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [text for _, text in self._said if part in text]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0, f"nobody said {part!r}: {[text for _, text in self._said]}"
                self._changed.wait(left)

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": self.address} | watchdog

    def __enter__(self) -> "NotifySocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._reader.join()
        self._socket.close()
        if not self.address.startswith("@"):
            os.unlink(self.address)  # noqa: PTH108
