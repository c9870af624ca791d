"""The messages between the worker and the broker."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .message import Count, Message, Milliseconds

# --- worker to broker -------------------------------------------------------------------------------


class Bucket(msgspec.Struct, frozen=True, order=True):
    """A static shape the device runs: up to ``tokens`` a row, at ``cost`` (padded tokens) a row."""

    tokens: Annotated[int, Meta(ge=1)]
    cost: Annotated[float, Meta(gt=0)]


class WorkerHello(Message, frozen=True, tag="worker_hello"):
    """Announce a worker that is ready: its model, its device and the shapes it runs.

    ``budget_tokens`` is the most padded tokens it takes in one batch. No ``buckets`` means dynamic shapes:
    a row costs its own length. ``details`` is shown in status pages as it is.
    """

    pid: Count
    model: str
    device: str
    precision: str
    max_length: Annotated[int, Meta(ge=8)]
    budget_tokens: Annotated[int, Meta(ge=8)]
    buckets: list[Bucket] = []
    details: dict[str, Any] = {}


class WorkerStarting(Message, frozen=True, tag="worker_starting", gc=False):
    """Report what a starting worker is doing (loading, compiling); its hello follows on another connection."""

    pid: Count
    doing: Annotated[str, Meta(max_length=500)]


class Pull(Message, frozen=True, tag="pull", gc=False):
    """Ask for one batch; answered by ``Batch`` as soon as anything waits."""


class Progress(Message, frozen=True, tag="progress", gc=False):
    """Report that the worker's loop runs, and for how long the device has finished nothing, ms (0: idle)."""

    stalled_ms: Milliseconds = 0.0


class PairError(msgspec.Struct, frozen=True):
    """Why the pair at ``position`` of a batch has no score; ``code`` as in ``errors``."""

    position: Count
    code: str
    message: str


class Window(msgspec.Struct, frozen=True):
    """A part of a document that is scored by itself: its UTF-8 bytes ``start`` to ``end``, and the pair's tokens."""

    start: Count
    end: Count
    tokens: Count


class PairWindows(msgspec.Struct, frozen=True):
    """The windows of the pair at ``position`` of a batch, the one just scored first; the others are still to be scored.

    Given for each pair that was not read whole in one window.
    """

    position: Count
    windows: Annotated[list[Window], Meta(min_length=1)]


class BatchResult(Message, frozen=True, tag="batch_result"):
    """Answer ``Batch``: a raw logit per pair in the batch's order (0.0 where ``errors`` names the position).

    ``tokens`` holds each pair's true length; ``padded_tokens`` is what the device ran; ``runs`` how many
    device batches that took; ``inference_ms`` from the first start to the last end. ``npu_busy_delta_us`` is how
    far the NPU's busy counter rose meanwhile, and ``npu_busy_total_us`` how far at its end since the worker began.
    """

    batch: int
    logits: list[float]
    tokens: list[int]
    truncated: list[int]
    errors: list[PairError]
    padded_tokens: Count
    runs: Count
    inference_ms: Milliseconds
    npu_busy_delta_us: int | None = None
    npu_busy_total_us: int = 0
    windows: list[PairWindows] = []


class BatchFailed(Message, frozen=True, tag="batch_failed"):
    """Answer ``Batch`` when the device failed on it as a whole; its pairs are tried again."""

    batch: int
    message: str


class WorkerState(Message, frozen=True, tag="worker_state"):
    """Replace the ``details`` that the worker's hello gave (busy time), and its ``buckets`` if there are more now."""

    details: dict[str, Any]
    buckets: list[Bucket] | None = None


class WorkerBye(Message, frozen=True, tag="worker_bye", gc=False):
    """Announce that the worker stops and pulls no more.

    ``fault``: because the device failed, so that what it holds may be to blame.
    """

    reason: str = ""
    fault: bool = False


# --- broker to worker -------------------------------------------------------------------------------


class WorkerWelcome(Message, frozen=True, tag="worker_welcome", gc=False):
    """Answer ``WorkerHello``: from now on pulls are answered."""

    epoch: str


class WindowPlan(msgspec.Struct, frozen=True, array_like=True):
    """How a long document is to be read: ``max_windows`` windows at most, ``stride`` tokens apart (0: default)."""

    max_windows: Annotated[int, Meta(ge=1)] = 1
    stride: Count = 0


class Batch(Message, frozen=True, tag="batch"):
    """Pairs to score: ``pairs[i]`` is ``(index into queries, document)``.

    ``plans[i]`` says how its document is to be read; none: all in one window.
    """

    batch: int
    queries: list[bytes]
    pairs: list[tuple[int, bytes]]
    plans: list[WindowPlan] = []


class WhoAreYou(Message, frozen=True, tag="who_are_you", gc=False):
    """Tell a worker that the broker does not know it (the broker restarted): say hello again."""


class Dismissed(Message, frozen=True, tag="dismissed", gc=False):
    """Tell a worker that it was given up or replaced; it ends itself.

    ``replaced``: another one serves now, so there is no need to start it anew.
    """

    reason: str
    replaced: bool = True


WorkerMessage = WorkerHello | WorkerStarting | Pull | Progress | BatchResult | BatchFailed | WorkerState | WorkerBye
BrokerToWorker = WorkerWelcome | Batch | WhoAreYou | Dismissed
