"""``serve``: broker, worker and HTTP front in the foreground, as one program.

The port is bound here, before anything else is begun, so a taken one fails at once; the front inherits it.
A worker that dies is started again, with growing pauses, unless it says that this cannot help. The
children die with this process, however it ends (``PR_SET_PDEATHSIG``).
"""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from ..client.sync import Reranker
from ..daemon.notify import Notifier
from ..daemon.stop_signal import StopSignal
from ..http_front.server import PortTaken, bind
from ..npu_worker.errors import PERMANENT
from ..protocol.errors import RerankError
from ..protocol.socket_paths import REQUESTS_SOCKET
from .addresses import url_of
from .settings import Settings, as_environment

logger = logging.getLogger("openvino_reranker.serve")

#: Pause before a dead child is started again, s: the first, and the longest.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
#: A child that lived so long did not die of its start; the pauses begin anew, s.
_SETTLED_S = 60.0
#: How long a child may take to stop before it is killed, s; longer than its own drain.
_STOP_S = 15.0
#: And how long when it shall stop at once, s: time to leave no socket behind.
_STOP_AT_ONCE_S = 1.0
_PR_SET_PDEATHSIG = 1


class Child:
    """One component's process."""

    def __init__(self, command: str, options: Sequence[str], environment: dict[str, str], fds: Sequence[int]) -> None:
        self.command = command
        self._options = options
        self._environment = environment
        self._fds = fds
        self._pause = _FIRST_PAUSE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self.start_at: float | None = 0.0

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C comes to us, and we stop it in order."""
        self.start_at = None
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            # -P: the working folder is no place to import from, whatever lies there.
            [sys.executable, "-P", "-m", "openvino_reranker", self.command, *self._options],
            env=self._environment,
            pass_fds=self._fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def died(self) -> int | None:
        """Return the exit status if the process has ended since the last call."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._process = None
        return status

    def restart_later(self) -> float:
        """Plan to start again after a pause; return the pause, s."""
        now = time.monotonic()
        if now - self._started > _SETTLED_S:
            self._pause = _FIRST_PAUSE_S
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE_S)
        self.start_at = now + pause
        return pause

    def stop(self, hurry: Callable[[], bool]) -> None:
        """Ask the process to stop and wait for it; kill it if it does not.

        Args:
            hurry: Whether it shall stop at once; asked again and again while it is waited for.
        """
        self.start_at = None
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        limit_s, hurried = _STOP_S, False
        asked = time.monotonic()
        while not self._ended_within(0.1):
            if not hurried and hurry():
                limit_s, hurried = _STOP_AT_ONCE_S, True
                asked = time.monotonic()
                self._process.send_signal(signal.SIGTERM)  # its second: it drops what it has
            if time.monotonic() - asked > limit_s:
                logger.warning("the %s did not stop within %g s; killed", self.command, limit_s)
                self._process.kill()
                self._process.wait()
        self._process = None

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def run(settings: Settings, *, verbose: bool = False) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0 after a clean stop, else the status of what could not run.

    Args:
        settings: The settings in force, for all components.
        verbose: Whether they log every request and batch.
    """
    notifier = Notifier.from_environment()  # ours, not the children's
    try:
        listening = bind(settings.host, settings.port)
    except PortTaken as error:
        print(f"openvino-reranker: {error}", file=sys.stderr)
        return 1
    with listening, StopSignal() as stop:
        return _Supervisor(settings, listening, notifier, ("--verbose",) if verbose else ()).run(stop)


class _Supervisor:
    def __init__(
        self, settings: Settings, listening: socket.socket, notifier: Notifier, options: Sequence[str]
    ) -> None:
        self._url = url_of(*listening.getsockname()[:2])
        self._notifier = notifier
        environment = os.environ | as_environment(settings)
        fd = listening.fileno()
        self._children = {
            "broker": Child("broker", options, environment, ()),
            "worker": Child("worker", options, environment, ()),
            "http": Child("http", (*options, "--fd", str(fd)), environment, (fd,)),
        }
        self._reranker = Reranker(settings.runtime_dir / REQUESTS_SOCKET)
        self._announced = False

    def run(self, stop: StopSignal) -> int:
        status = 0
        try:
            while not stop.count:
                for child in self._children.values():
                    if child.start_at is not None and time.monotonic() >= child.start_at:
                        child.start()
                status = self._look_after()
                if status:
                    return status
                if not self._announced:
                    self._announce()
                time.sleep(0.1 if not self._announced else 0.2)
            logger.info("stopping")
            self._notifier.stopping("stopping")
            return 0
        finally:
            # The front first, so that it still gets the answers it waits for; then the broker, then the device.
            for name in ("http", "broker", "worker"):
                self._children[name].stop(lambda: stop.count > 1)

    def _look_after(self) -> int:
        """See to children that have ended; return a status if the service cannot go on."""
        for name, child in self._children.items():
            status = child.died()
            if status is None:
                continue
            if name == "worker" and status in PERMANENT:
                return status
            if not self._announced and name != "worker":
                return status if status > 0 else 1
            pause = child.restart_later()
            logger.warning("the %s ended with status %s; starting it again in %.1f s", name, status, pause)
        return 0

    def _announce(self) -> None:
        """Print the address once a request would be answered."""
        try:
            status = self._reranker.status(timeout=1.0)
        except RerankError:
            return
        if not status.ready or "http_front" not in status.peers:
            return
        self._announced = True
        self._reranker.close()
        worker = status.worker
        ready = f"{self._url} ({worker.model} on {worker.device}, {worker.precision})"
        print(f"ready: {ready}", flush=True)
        self._notifier.ready(ready)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
