"""The wire protocol: every message between clients, broker and worker, and how it is written.

A message is two ZeroMQ frames: ``MAGIC`` (three letters and the version), then one msgpack map whose
``type`` names the message. Texts travel as msgpack *bin* holding UTF-8, so that the broker hands them on
as it got them. Unknown keys are ignored, so a minor addition needs no new version; everything else that
does not fit is refused with an error that says where (``$.documents[3]``).

SPEC.md, section "Wire protocol", says the same in prose for writers of other clients.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from .errors import InvalidRequest, WrongVersion
from .limits import MAX_DOCUMENTS_READ, MAX_KEYS, Limits

VERSION = 1
MAGIC_NAME = b"ORR"
MAGIC = MAGIC_NAME + str(VERSION).encode()

RequestClass = Literal["interactive", "bulk"]
REQUEST_CLASSES: tuple[RequestClass, ...] = get_args(RequestClass)
RequestId = Annotated[bytes, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]


class Message(msgspec.Struct, frozen=True, tag_field="type", gc=False):
    """The base of all messages; the tag on the wire is the ``tag=`` of each class."""


# --- client to broker -------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello", gc=False):
    """Ask whether a broker is there and what it allows; answered by ``Welcome``.

    ``name`` says what the peer is, for status pages ("client", "http_front"), in printable ASCII.
    """

    name: Annotated[str, Meta(max_length=64, pattern="^[ -~]*$")] = "client"
    pid: Count = 0


class Rerank(Message, frozen=True, tag="rerank"):
    """Score every document against the query; answered by one ``Scores`` or one ``Refusal`` with the same id.

    ``deadline_ms`` is relative (clocks differ): the broker stamps it on arrival. ``caller`` names who is charged
    when a peer speaks for many (the HTTP front): ``uid:pid`` for a process, as the broker names its own peers.
    ``stream`` tells apart the connections of one caller, which take turns within its share. Both count only
    from the broker's own user.

    A document longer than the model reads at once is read in windows: at most ``max_windows`` of them, which begin
    ``window_stride`` tokens apart. Null: the service's defaults. 1: only the beginning is read.

    ``use_cache`` false: every pair is run on the device, whatever the score cache knows.
    """

    id: RequestId
    query: bytes
    documents: Annotated[list[bytes], Meta(max_length=MAX_DOCUMENTS_READ)]
    deadline_ms: Annotated[int, Meta(ge=1)] | None = None
    priority: RequestClass = "interactive"
    caller: Annotated[str, Meta(max_length=128)] | None = None
    stream: Annotated[str, Meta(max_length=128)] | None = None
    max_windows: Annotated[int, Meta(ge=1)] | None = None
    window_stride: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    use_cache: bool = True


class Cancel(Message, frozen=True, tag="cancel", gc=False):
    """Forget a request of this peer; pairs that have not started are dropped, and nothing is answered."""

    id: RequestId


class GetStatus(Message, frozen=True, tag="get_status", gc=False):
    """Ask for ``Status``."""

    id: RequestId


# --- broker to client -------------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """Answer ``Hello``: this broker's life (``epoch`` changes when it restarts) and its bounds.

    The bounds are there for clients in other languages; this package's own know them.
    """

    epoch: str
    version: str
    limits: Limits


class Served(msgspec.Struct, frozen=True):
    """What served a request: the model, where it ran, and whether the device proved it.

    ``npu_busy_delta_us`` is how far the NPU driver's busy counter rose during the batches that served the
    request, µs, device-wide; null off the NPU.
    """

    model: str
    device: str
    precision: str
    npu_busy_delta_us: int | None = None


class Timings(msgspec.Struct, frozen=True):
    """Where the time went, ms: waiting for the device, on the device, and from arrival to answer."""

    queue: float
    inference: float
    total: float


class WindowedDocument(msgspec.Struct, frozen=True):
    """How a document was read that was not read whole in one window.

    ``windows`` of them were read; the best, whose logit is the document's, covers its UTF-8 bytes ``start`` to ``end``.
    """

    index: Count
    windows: Annotated[int, Meta(ge=1)]
    start: Count
    end: Count


class Scores(Message, frozen=True, tag="scores"):
    """Answer ``Rerank``: one raw logit per document, in the order of the documents.

    ``truncated`` lists the indexes of documents of which the model did not read the end. ``tokens`` is what the model
    read, special tokens included. ``windowed`` has an entry for each document that was not read whole in one window.
    ``cached`` documents were answered from the score cache.
    """

    id: RequestId
    scores: list[float]
    truncated: list[int]
    tokens: Count
    served: Served
    timings_ms: Timings
    windowed: list[WindowedDocument] = []
    cached: Count = 0


class Refusal(Message, frozen=True, tag="error"):
    """Answer a request that got no scores; ``code`` and ``message`` as in ``errors``. ``id`` may be empty."""

    id: bytes
    code: str
    message: str
    retry_after_ms: Count | None = None


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
    """Tell what a worker does that is not ready yet (loading, compiling); its hello comes on another connection."""

    pid: Count
    doing: Annotated[str, Meta(max_length=500)]


class Pull(Message, frozen=True, tag="pull", gc=False):
    """Ask for one batch; answered by ``Batch`` as soon as anything waits."""


class Progress(Message, frozen=True, tag="progress", gc=False):
    """Tell that the worker's loop runs, and for how long the device has not finished anything, ms (0: idle)."""

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
    """Say that the worker stops and wants nothing more.

    ``fault``: because the device failed, so that what it holds may be to blame.
    """

    reason: str = ""
    fault: bool = False


# --- broker to worker -------------------------------------------------------------------------------


class WorkerWelcome(Message, frozen=True, tag="worker_welcome", gc=False):
    """Answer ``WorkerHello``: from now on pulls are answered."""

    epoch: str


class WindowPlan(msgspec.Struct, frozen=True, array_like=True):
    """How a long document is to be read: at most so many windows, which begin ``stride`` tokens apart (0: default)."""

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


ClientMessage = Hello | Rerank | Cancel | GetStatus
WorkerMessage = WorkerHello | WorkerStarting | Pull | Progress | BatchResult | BatchFailed | WorkerState | WorkerBye


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

    ``restarts`` counts workers that failed or were lost, ``losses`` the same by reason. ``dismissed`` holds the pids of
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
    restarts: int = 0
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


BrokerMessage = Welcome | Scores | Refusal | Status
BrokerToWorker = WorkerWelcome | Batch | WhoAreYou | Dismissed

_encode = msgspec.msgpack.Encoder().encode
_from_client = msgspec.msgpack.Decoder(ClientMessage)
_from_broker = msgspec.msgpack.Decoder(BrokerMessage)
_from_worker = msgspec.msgpack.Decoder(WorkerMessage)
_to_worker = msgspec.msgpack.Decoder(BrokerToWorker)


def encode(message: Message) -> list[bytes]:
    """Return the two frames of a message."""
    return [MAGIC, _encode(message)]


def decode_from_client(frames: Sequence[bytes | bytearray | memoryview]) -> ClientMessage:
    """Read what a client sent.

    Raises:
        WrongVersion: The first frame names another version.
        InvalidRequest: The frames are not a message of the protocol; the text says where.
    """
    message: ClientMessage = _decode(_from_client, frames)
    return message


def decode_from_broker(frames: Sequence[bytes | bytearray | memoryview]) -> BrokerMessage:
    """Read what the broker sent a client. Raises as ``decode_from_client``."""
    message: BrokerMessage = _decode(_from_broker, frames)
    return message


def decode_from_worker(frames: Sequence[bytes | bytearray | memoryview]) -> WorkerMessage:
    """Read what a worker sent. Raises as ``decode_from_client``."""
    message: WorkerMessage = _decode(_from_worker, frames)
    return message


def decode_for_worker(frames: Sequence[bytes | bytearray | memoryview]) -> BrokerToWorker:
    """Read what the broker sent a worker. Raises as ``decode_from_client``."""
    message: BrokerToWorker = _decode(_to_worker, frames)
    return message


def _decode(decoder: Any, frames: Sequence[bytes | bytearray | memoryview]) -> Any:
    if not frames or bytes(frames[0][:3]) != MAGIC_NAME:
        raise InvalidRequest("the first frame is not 'ORR' and a version: this is not the protocol of this socket")
    if frames[0] != MAGIC:
        theirs = bytes(frames[0][3:11]).decode("ascii", "replace")
        raise WrongVersion(f"protocol version {theirs!r} is not spoken here; this side speaks version {VERSION}")
    if len(frames) != 2:
        raise InvalidRequest(f"a message has 2 frames, this one has {len(frames)}")
    if (keys := _keys(frames[1])) > MAX_KEYS:
        raise InvalidRequest(f"a message of {keys} keys; the limit is {MAX_KEYS}")
    try:
        return decoder.decode(frames[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the message does not fit the protocol: {error}") from error


def _keys(payload: bytes | bytearray | memoryview) -> int:
    """Return how many keys a msgpack map says it has, if that takes more than its first byte; else 0."""
    if payload[:1] == b"\xde":
        return int.from_bytes(payload[1:3], "big")
    return int.from_bytes(payload[1:5], "big") if payload[:1] == b"\xdf" else 0
