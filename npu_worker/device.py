"""The device as the worker uses it: runs are started, and what has finished is collected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.worker_messages import Bucket
from .packing import Run
from .tokenization import Row

#: Called in a thread of OpenVINO's when a run has finished; must not block.
Wake = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: its logits in the order of its rows, or the error; and when, s (monotonic)."""

    run: Run
    logits: list[float] | Exception
    ended: float


class Device(Protocol):
    """What the worker needs of a device."""

    name: str
    precision: str
    budget_tokens: int
    buckets: Sequence[Bucket]

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        """Cut rows of these lengths into runs the device can take."""
        ...

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        """Start a run; False if it cannot start now. A later run may."""
        ...

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call, in the order they did."""
        ...

    @property
    def warm(self) -> bool:
        """Whether ``warm_up`` has nothing left to do."""
        ...

    def warm_up(self, wake: Wake) -> None:
        """Use an idle moment: start one run of what the first requests of a kind would be slower without, if any."""
        ...

    def details(self) -> dict[str, Any]:
        """Return what status pages show of the device."""
        ...

    def progress(self) -> str:
        """Return what the device is still getting ready, in a few words; empty when it is all there."""
        ...

    def check(self) -> None:
        """Raise the ``WorkerError`` that makes it impossible to go on, if there is one."""
        ...
