"""What a status page shows: the question and its answer."""

from typing import Any

import msgspec

from .limits import Limits
from .message import Message, RequestId


class GetStatus(Message, frozen=True, tag="get_status", gc=False):
    """Ask for ``Status``."""

    id: RequestId


class QueueStatus(msgspec.Struct, frozen=True):
    """How much waits: requests not yet answered, pairs not yet on the device, bytes of their texts."""

    requests: int = 0
    pairs: int = 0
    bytes: int = 0
    callers: int = 0


class CallerStatus(msgspec.Struct, frozen=True):
    """What a caller has had lately: tokens the model read for it, halved every minute, and its share of all callers'.

    ``pairs`` of it are waiting.
    """

    name: str
    tokens: int
    share: float
    pairs: int


class WorkerStatus(msgspec.Struct, frozen=True):
    """The worker as the broker sees it; ``state`` is ``absent``, ``idle``, ``busy`` or ``stalled``.

    ``losses`` counts workers that failed, were lost or were replaced, by reason. ``dismissed`` holds the pids of
    workers that were given up and have not closed their connection: a process that is stopped or stuck never will, and
    may be killed.
    """

    state: str = "absent"
    pid: int | None = None
    model: str | None = None
    device: str | None = None
    precision: str | None = None
    max_length: int | None = None
    budget_tokens: int | None = None
    in_flight_batches: int = 0
    tokens_per_second: float | None = None
    losses: dict[str, int] = {}
    dismissed: list[int] = []
    details: dict[str, Any] = {}


class CacheStatus(msgspec.Struct, frozen=True):
    """The score cache: how many documents' scores it holds, and about how many bytes that takes."""

    entries: int = 0
    bytes: int = 0


class Status(Message, frozen=True, tag="status"):
    """Answer ``GetStatus``: everything a status page shows. ``counters`` only ever rise.

    ``callers`` are the ten with the most tokens lately.
    """

    id: RequestId
    epoch: str
    pid: int
    uptime_s: float
    ready: bool
    reason: str
    queue: QueueStatus
    worker: WorkerStatus
    peers: dict[str, list[int]]
    counters: dict[str, int | float]
    limits: Limits
    score_cache: CacheStatus = CacheStatus()
    callers: list[CallerStatus] = []

    def pids(self) -> dict[str, int | None]:
        """Return the process ids of the three components; None for one that is not there."""
        fronts = self.peers.get("http_front", [])
        return {"broker": self.pid, "worker": self.worker.pid, "http": fronts[-1] if fronts else None}
