"""``serve``: broker, worker and HTTP front in the foreground, as one program.

The runtime folder is locked, and the port and the broker's sockets are bound here before anything else, so that one in
use is reported at once. Front and broker inherit them: while one of them is started again, who connects waits and is
not refused. The children report as they do to systemd (sd_notify(3)), and ``supervision`` decides from that
when one is restarted or killed. They die with this process, however it ends.
"""

import argparse
import contextlib
import functools
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence

from ..broker.own_sockets import OwnSockets
from ..broker.runtime_folder import make_folder
from ..client.sync import Reranker
from ..daemon.notify import Notifier
from ..daemon.notify_socket import NotifySocket
from ..daemon.pid_lock import Held, PidLock
from ..daemon.standstill import StandstillDetector
from ..daemon.stop_signal import StopSignal
from ..daemon.unix_socket import SocketTaken
from ..npu_worker.errors import PERMANENT
from ..protocol.errors import RerankError
from ..protocol.socket_paths import REQUESTS_SOCKET
from .addresses import url_of
from .child import Child, exit_in_words
from .component import add_log_arguments as add_arguments
from .component import start
from .settings import Settings, as_environment
from .supervision import SupervisionTimeouts

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """Prints 'ready: http://...' once it can answer requests: within seconds on a CPU. On an NPU the first
start compiles the model for each row length, which takes minutes; later starts load them from the cache. Progress is
logged, and 'openvino-reranker status' shows it. No model yet? 'openvino-reranker pull' gets one (70 to 100 MB).

Ctrl-C stops it once accepted requests are answered; a second Ctrl-C stops it at once. A component that exits is
restarted, unless restarting cannot help: then serve ends with its status.
"""

logger = logging.getLogger("openvino_reranker.serve")

#: Between two checks whether the broker is ready, until it is, s.
_ASK_AGAIN_S = 0.1
_INSTEAD = "stop it, or choose another folder with --runtime-dir"


def run(arguments: argparse.Namespace, limits: SupervisionTimeouts | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0 after a clean stop, else the status of what could not run."""
    settings = start(arguments)
    # First of all, so that a signal is never lost and never ends it half-way with children left.
    with StopSignal(also_wake=(signal.SIGCHLD,)) as stop:
        return _serve(arguments, settings, limits or SupervisionTimeouts(), stop)


def _serve(arguments: argparse.Namespace, settings: Settings, limits: SupervisionTimeouts, stop: StopSignal) -> int:
    # This needs the extra [http].
    from ..http_front.server import PortTaken, bind

    notifier = Notifier.from_environment()  # ours, not the children's
    folder = settings.runtime_dir
    with contextlib.ExitStack() as stack:
        try:
            make_folder(folder)
            stack.enter_context(PidLock(folder / "serve.lock"))
            sockets = stack.enter_context(contextlib.closing(OwnSockets(folder)))
            reports = stack.enter_context(NotifySocket(folder / "notify.sock"))
            listening = stack.enter_context(bind(settings.host, settings.port))
        except Held as held:
            problem = (
                f"another 'openvino-reranker serve' (pid {held.pid}) is using the runtime folder {folder}; {_INSTEAD}"
            )
        except (SocketTaken, PortTaken) as error:
            problem = str(error)
        except OSError as error:
            problem = f"cannot use the runtime folder {folder}: {error.strerror}; choose another with --runtime-dir"
        else:
            options = ("--verbose",) if arguments.verbose else ()
            return _Supervisor(settings, listening, sockets, notifier, reports, options, limits).run(stop)
    print(f"openvino-reranker: {problem}", file=sys.stderr)
    return 1


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        listening: socket.socket,
        sockets: OwnSockets,
        notifier: Notifier,
        reports: NotifySocket,
        options: Sequence[str],
        limits: SupervisionTimeouts,
    ) -> None:
        self._url = url_of(*listening.getsockname()[:2])
        self._sockets = sockets
        self._notifier = notifier
        self._reports = reports
        environment = os.environ | as_environment(settings) | reports.environment(limits.watchdog)
        self._broker = Child(
            "broker",
            options,
            environment,
            limits,
            {f"--{name}-fd": each.fileno() for name, each in sockets.listening.items()},
        )
        self._worker = Child("worker", options, environment, limits)
        self._front = Child("http", options, environment, limits, {"--fd": listening.fileno()})
        self._children = (self._broker, self._worker, self._front)
        self._reranker = Reranker(settings.runtime_dir / REQUESTS_SOCKET)
        self._announced = False
        self._standstill = StandstillDetector(time.monotonic())

    def run(self, stop: StopSignal) -> int:
        poller = select.poll()
        poller.register(stop.fileno(), select.POLLIN)
        poller.register(self._reports.fileno(), select.POLLIN)
        try:
            while not stop.count:
                status = self._look_after_children()
                if status:
                    return status
                if not self._announced and all(child.supervision.ready for child in self._children):
                    self._announce()
                began, allowed_ms = time.monotonic(), self._timeout_ms()
                poller.poll(allowed_ms)
                self._note_standstill(time.monotonic() - began, None if allowed_ms is None else allowed_ms / 1000)
                stop.clear()
            logger.info("stopping")
            self._notifier.stopping("stopping")
            return 0
        finally:
            self._reranker.close()
            hurried = functools.partial(self._hurried, stop)
            # The front first, so that it still gets the answers it waits for; then the broker, then the device.
            self._front.stop(hurried)
            self._broker.stop(hurried)
            self._sockets.close()  # at once: nobody is there any more for whoever connects
            self._worker.stop(hurried)

    def _note_standstill(self, waited: float = 0.0, allowed: float | None = None) -> float:
        """Return the time, s; after a standstill of our own no component is blamed for it."""
        now = time.monotonic()
        if self._standstill.note(now, waited, allowed):
            for child in self._children:
                child.supervision.resume(now)
        return now

    def _hurried(self, stop: StopSignal) -> bool:
        self._reports.read()  # or a child would block on its next report
        return stop.count > 1

    def _timeout_ms(self) -> int | None:
        wakeups = (child.supervision.next_wakeup() for child in self._children)
        due = [wakeup for wakeup in wakeups if wakeup is not None]
        now = time.monotonic()
        if not self._announced:
            due.append(now + _ASK_AGAIN_S)
        return max(0, int((min(due) - now) * 1000) + 1) if due else None

    def _look_after_children(self) -> int:
        """Start, kill and restart children as needed; return a status if the service cannot go on."""
        for pid, report in self._reports.read():
            for child in self._children:
                if child.pid == pid:
                    child.supervision.reported(report, time.monotonic())
        now = self._note_standstill()
        for child in self._children:
            status = child.exit_status()
            if status is not None:
                if child is self._worker and status in PERMANENT:
                    return status
                if child is not self._worker and not child.supervision.was_ready:
                    return status if status > 0 else 1
                pause = child.supervision.ended(time.monotonic())
                logger.warning("the %s ended with %s; %s", child.name, exit_in_words(status), _next_start(pause))
            elif (reason := child.supervision.overdue(now)) is not None:
                logger.error("the %s (pid %s) %s; killing it", child.name, child.pid, reason)
                child.kill()
            start_at = child.supervision.start_at
            if start_at is not None and time.monotonic() >= start_at:
                child.start()
        return 0

    def _announce(self) -> None:
        """Print the address once requests can be answered."""
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
        print(f"ready: {ready}\nto try it in a browser: {self._url}/", flush=True)
        self._notifier.ready(ready)


def _next_start(pause: float) -> str:
    return f"restarting it in {pause:.1f} s" if pause else "restarting it"
