"""A component's process, started by ``serve`` and ended with it."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from ..daemon.parent_death import die_with_parent
from .supervision import Supervision, SupervisionTimeouts

logger = logging.getLogger("openvino_reranker.serve")


class Child:
    """One component's process.

    Args:
        command: The command of this program that runs it.
        options: Further options.
        environment: Its environment.
        limits: The timeouts.
        sockets: Descriptors that it inherits, by the option that names each.
    """

    def __init__(
        self,
        command: str,
        options: Sequence[str],
        environment: dict[str, str],
        limits: SupervisionTimeouts,
        sockets: Mapping[str, int] | None = None,
    ) -> None:
        self.command = command
        self.name = "HTTP front" if command == "http" else command
        self.supervision = Supervision(limits)
        self._limits = limits
        self._options = [*options, *(f"{option}={fd}" for option, fd in (sockets or {}).items())]
        self._environment = environment
        self._fds = tuple((sockets or {}).values())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C comes to us, and we stop it in order."""
        self._process = subprocess.Popen(
            # -P: nothing is imported from the working folder.
            [sys.executable, "-P", "-m", "openvino_reranker", self.command, *self._options],
            env=self._environment,
            pass_fds=self._fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )
        self.supervision.started(time.monotonic())

    def exit_status(self) -> int | None:
        """Return the exit status if the process has ended since the last call."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._process = None
        return status

    def kill(self) -> None:
        """Kill the process, even if it is stopped (SIGSTOP) or hangs."""
        if self._process is not None:
            self._process.kill()
        self.supervision.killed()

    def stop(self, at_once: Callable[[], bool]) -> None:
        """Ask the process to stop and wait for it; kill it if it does not.

        Args:
            at_once: Returns whether to stop without finishing the work in progress; polled while waiting.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        limit, hurried = self._limits.stop, False
        since = time.monotonic()
        while not self._ended_within(0.1):
            if not hurried and at_once():
                limit, hurried = self._limits.stop_at_once, True
                since = time.monotonic()
                self._process.send_signal(signal.SIGTERM)  # its second: it drops what it has
            if time.monotonic() - since > limit:
                logger.warning("the %s did not stop within %g s; killed", self.name, limit)
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


def exit_in_words(status: int) -> str:
    """Return an exit status as a log line shows it."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
