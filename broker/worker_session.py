"""The worker as the broker knows it: what it announced, what it asked for, what it holds."""

from dataclasses import dataclass, field

from ..protocol.messages import Batch, Progress, WorkerHello, WorkerStatus
from .request import Entry

#: Nothing heard for so long: it is stopped or gone, s. It speaks at least once a second.
SILENCE_S = 10.0
#: Its loop runs, but the device has finished nothing for so long: it is stuck in the driver, s. (A run on a slow
#: CPU takes a second or two.)
STALL_S = 20.0
#: A pair sent to run alone so long ago, while the device has nothing to do: it waits for its shape, s.
WAITS_S = 2.0


@dataclass(slots=True)
class InFlight:
    """A batch the worker holds.

    Attributes:
        entries: Its pairs.
        alone: They were in a lost batch before; there is one.
        suspect: It was lost with a worker that failed; once more, and it has failed itself.
        sent: When it was sent, s.
        waits: It is alone and waits in the worker for its shape to be compiled, so others need not wait for it.
    """

    entries: list[Entry]
    alone: bool
    suspect: bool
    sent: float
    waits: bool = False

    def message(self, number: int) -> Batch:
        """Return what the worker gets: each query once, and the first of each entry's identical pairs."""
        queries: dict[bytes, int] = {}
        pairs = [
            (queries.setdefault(request.query, len(queries)), request.documents[index])
            for (request, index), *_ in self.entries
        ]
        return Batch(number, list(queries), pairs)


@dataclass(slots=True)
class WorkerSession:
    """A worker that said hello and was not lost since."""

    identity: bytes
    hello: WorkerHello
    heard: float
    pulls: int = 0
    stalled_ms: float = 0.0
    in_flight: dict[int, InFlight] = field(default_factory=dict)

    @property
    def runs_one_alone(self) -> bool:
        """Whether it has a pair that must be all the device has to do."""
        return any(batch.alone and not batch.waits for batch in self.in_flight.values())

    @property
    def one_waits(self) -> bool:
        """Whether it holds a pair that waits for its shape."""
        return any(batch.waits for batch in self.in_flight.values())

    def note_progress(self, message: Progress, now: float) -> None:
        """Note for how long the device has finished nothing."""
        self.stalled_ms = message.stalled_ms
        if not message.stalled_ms:
            for batch in self.in_flight.values():
                batch.waits = batch.waits or (batch.alone and now - batch.sent > WAITS_S)

    def trouble(self, now: float) -> str | None:
        """Return why the worker must be given up, or None."""
        if now >= self.trouble_at():
            return f"nothing heard from the worker (pid {self.hello.pid}) for {SILENCE_S:g} s"
        if self.stalled_ms > STALL_S * 1000:
            return f"the device of the worker (pid {self.hello.pid}) has finished nothing for {STALL_S:g} s"
        return None

    def trouble_at(self) -> float:
        """Return when ``trouble`` must be asked next."""
        return self.heard + SILENCE_S

    def status(self, tokens_per_ms: float | None, losses: int) -> WorkerStatus:
        """Return what status pages show."""
        hello = self.hello
        state = "stalled" if self.stalled_ms > 1000 else "busy" if self.in_flight else "idle"
        return WorkerStatus(
            state=state,
            pid=hello.pid,
            model=hello.model,
            device=hello.device,
            precision=hello.precision,
            max_length=hello.max_length,
            budget_tokens=hello.budget_tokens,
            in_flight_batches=len(self.in_flight),
            tokens_per_second=None if tokens_per_ms is None else round(tokens_per_ms * 1000, 1),
            restarts=losses,
            details=hello.details,
        )
