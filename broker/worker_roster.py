"""Which workers the broker knows: the one that serves, one that is starting, and those that were dismissed."""

from collections import Counter

import msgspec

from ..protocol.client_messages import Served
from ..protocol.status_messages import WorkerStatus
from ..protocol.worker_messages import WorkerStarting
from .worker_session import Loss, Standing, WorkerSession


class WorkerRoster:
    """The workers, by the connection's identity. At most one serves.

    Attributes:
        serving: The session of the worker that gets batches, if there is one.
        starting: The connection of a worker that loads its model, and what it last said of that.
        dismissed: The pid of each worker that was given up or replaced and still has a connection, and why.
        losses: How many workers were lost, by kind.
    """

    def __init__(self) -> None:
        self.serving: WorkerSession | None = None
        self.starting: tuple[bytes, WorkerStarting] | None = None
        self.dismissed: dict[bytes, tuple[int, str]] = {}
        self.losses: Counter[str] = Counter()

    def is_serving(self, identity: bytes) -> bool:
        """Return whether a connection is that of the worker that serves."""
        return self.serving is not None and self.serving.identity == identity

    def standing(self, identity: bytes) -> Standing:
        """Return where a connection stands."""
        if self.is_serving(identity):
            return Standing.SERVING
        return Standing.DISMISSED if identity in self.dismissed else Standing.UNKNOWN

    def dismiss(self, worker: WorkerSession, loss: Loss) -> None:
        """Give up the worker that serves."""
        self.serving = None
        self.dismissed[worker.identity] = (worker.hello.pid, loss.words)

    def forget(self, identity: bytes) -> None:
        """Forget a closed connection of a worker that does not serve."""
        if self.starting is not None and self.starting[0] == identity:
            self.starting = None
        self.dismissed.pop(identity, None)

    @property
    def expected(self) -> bool:
        """Whether a worker serves, or one is loading."""
        return self.serving is not None or self.starting is not None

    def absent_reason(self) -> str | None:
        """Return why no worker serves, or None if one does."""
        if self.serving is not None:
            return None
        if self.starting is not None:
            starting = self.starting[1]
            return f"no worker is ready: the one that is starting (pid {starting.pid}) says: {starting.doing}"
        return "no worker is ready: it is loading its model, or it is not running"

    def served(self) -> Served | None:
        """Return what serves now, without a batch's busy time; None if nothing does."""
        if self.serving is None:
            return None
        hello = self.serving.hello
        return Served(hello.model, hello.device, hello.precision)

    def status(self, tokens_per_ms: float | None) -> WorkerStatus:
        """Return what status pages show.

        Args:
            tokens_per_ms: The serving worker's measured rate, in padded tokens.
        """
        return msgspec.structs.replace(
            WorkerStatus() if self.serving is None else self.serving.status(tokens_per_ms),
            losses=dict(self.losses),
            dismissed=[pid for pid, _ in self.dismissed.values()],
        )

    def requests_in(self, number: int) -> list[bytes]:
        """Return the ids of the requests that a batch in flight serves."""
        batch = self.serving.in_flight.get(number) if self.serving else None
        return list({request.id: None for entry in batch.entries for request, _ in entry}) if batch else []
