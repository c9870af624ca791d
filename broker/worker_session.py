"""A worker as the broker knows it: where it stands, what it announced, what it asked for, what it holds."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from ..protocol.status_messages import WorkerStatus
from ..protocol.timeouts import Timeouts
from ..protocol.worker_messages import Batch, Progress, WorkerHello
from .request import Entry


class Standing(Enum):
    """The state of a connection on the workers' socket. The table in ``workers`` says what each message means in it."""

    #: It never said hello to this broker, or said goodbye.
    UNKNOWN = "unknown"
    #: It said hello and gets batches. One connection at most.
    SERVING = "serving"
    #: It was given up (silent, stuck, out of reach) or replaced; its messages are ignored from then on.
    DISMISSED = "dismissed"


class Loss(NamedTuple):
    """Why a worker was given up: the kind, for counting, and as text."""

    kind: Literal["silent", "stalled", "unreachable", "disconnected", "replaced", "fault"]
    words: str


@dataclass(slots=True)
class InFlight:
    """A batch the worker holds.

    Attributes:
        entries: Its pairs.
        isolated: They were in a lost batch before and run alone; there is one.
        implicated: That batch was lost with a worker that failed; once more, and the pair has failed itself.
    """

    entries: list[Entry]
    isolated: bool = False
    implicated: bool = False

    def message(self, number: int) -> Batch:
        """Return what the worker gets: each query once, and the first of each entry's identical pairs."""
        queries: dict[bytes, int] = {}
        pairs, plans = [], []
        for (request, row), *_ in self.entries:
            query, text, plan = request.key(row)
            pairs.append((queries.setdefault(query, len(queries)), text))
            plans.append(plan)
        return Batch(number, list(queries), pairs, plans)


@dataclass(slots=True)
class WorkerSession:
    """The worker that serves, from its hello until it leaves or is given up.

    Attributes:
        heard: When its last message arrived, s.
        pulls: Batches it has asked for and not been given.
        stalled_ms: For how long its device has finished nothing, as last reported.
        in_flight: What it holds, by batch number.
    """

    identity: bytes
    hello: WorkerHello
    heard: float
    pulls: int = 0
    stalled_ms: float = 0.0
    in_flight: dict[int, InFlight] = field(default_factory=dict)

    @property
    def runs_isolated(self) -> bool:
        """Whether it holds a pair that must be all the device has to do."""
        return any(batch.isolated for batch in self.in_flight.values())

    def note_progress(self, message: Progress) -> None:
        """Note for how long the device has finished nothing."""
        self.stalled_ms = message.stalled_ms

    def failure(self, now: float, timeouts: Timeouts) -> Loss | None:
        """Return why the worker must be given up, or None."""
        worker = f"the worker (pid {self.hello.pid})"
        if now >= self.next_check_at(timeouts):
            return Loss("silent", f"nothing heard from {worker} for {timeouts.broker_silence:g} s")
        if self.stalled_ms > timeouts.broker_stall * 1000:
            return Loss("stalled", f"the device of {worker} has finished nothing for {timeouts.broker_stall:g} s")
        return None

    def next_check_at(self, timeouts: Timeouts) -> float:
        """Return when ``failure`` may change by time alone."""
        return self.heard + timeouts.broker_silence

    def status(self, tokens_per_ms: float | None) -> WorkerStatus:
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
            details=hello.details,
        )
