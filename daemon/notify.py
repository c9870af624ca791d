"""sd_notify(3) client: readiness, status and watchdog pings for a service manager, if there is one."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, MutableMapping

#: How long a message may wait for a service manager that does not read, s.
_SEND_TIMEOUT_S = 1.0
#: During a slow start: how often more time is asked for, and how much, s.
EXTEND_EVERY_S = 10.0
EXTEND_BY_S = 120.0


class Notifier:
    """Sends one process's state to its service manager.

    Args:
        address: ``NOTIFY_SOCKET``: a path, or ``@`` and an abstract name; empty for no service manager.
        watchdog_s: The service manager's limit on the time between two ``watchdog`` calls, s; None for none.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> "Notifier":
        """Take the service manager's variables out of the environment: children must not report in our name."""
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
        watched = microseconds.isdecimal() and int(microseconds) > 0 and pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if watched else None)

    @property
    def connected(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Report that the service is ready."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Report the state of the service in one line, which ``systemctl status`` shows."""
        self._send(f"STATUS={_one_line(text)}", wait_s=0.0)

    def watchdog(self) -> None:
        """Ping the watchdog."""
        self._send("WATCHDOG=1", wait_s=0.0)

    def stopping(self, status: str) -> None:
        """Report that the service has begun to stop."""
        self._send("STOPPING=1", f"STATUS={_one_line(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or stop: this many seconds from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    @contextlib.contextmanager
    def starting_slowly(self, status: str, limit_s: float, every_s: float = EXTEND_EVERY_S) -> Iterator[None]:
        """Ask for more time while the body runs, up to ``limit_s``: a start that hangs is to be killed."""
        if not self.connected:
            yield
            return
        done = threading.Event()

        def ask() -> None:
            left = limit_s
            while left > 0:
                self.extend(min(EXTEND_BY_S, left))
                if done.wait(every_s):
                    return
                left -= every_s

        self.status(status)
        asking = threading.Thread(target=ask, name="openvino-reranker-extend", daemon=True)
        asking.start()
        try:
            yield
        finally:
            done.set()
            asking.join()

    def _send(self, *assignments: str, wait_s: float = _SEND_TIMEOUT_S) -> None:
        """Send a message; what comes again soon need not wait for a service manager that does not read."""
        if not self._address:
            return
        # A service manager that is being replaced must not stop the service.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(wait_s)
            sender.sendto("\n".join(assignments).encode(), self._address)


def _one_line(text: str) -> str:
    return " ".join(text.split())
