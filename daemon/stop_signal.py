"""SIGTERM and SIGINT for a poll loop: counted, and waking the poll."""

import contextlib
import signal
import socket
from collections.abc import Callable, Collection, Iterator
from types import FrameType, TracebackType
from typing import Any


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Deliver SIGINT at the end of the body: raised in the middle of an import, it can get lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopSignal:
    """Counts SIGTERM and SIGINT while entered; readable when one came.

    A poll that was interrupted by a signal goes on waiting (PEP 475), so the signal is also written to a
    socket that the loop polls. The first signal asks for a clean stop, the second for an immediate one.

    Args:
        also_wake: Further signals that wake the poll and are not counted, such as SIGCHLD.
    """

    def __init__(self, also_wake: Collection[signal.Signals] = ()) -> None:
        self.count = 0
        self._also_wake = also_wake
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._wakeup_before = -1

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._reader.fileno()

    def clear(self) -> None:
        """Consume the wake-up, once the poll has returned."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(64)

    def __enter__(self) -> "StopSignal":
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        for number in self._also_wake:
            self._before[number] = signal.signal(number, _do_nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Let the wake-up descriptor be written to; an ignored signal would not."""
