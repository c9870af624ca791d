"""The messages between a client and the broker."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .limits import MAX_DOCUMENTS_READ, MAX_WINDOW_STRIDE, Limits
from .message import Count, Message, RequestClass, RequestId
from .status_messages import GetStatus, Status


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
    window_stride: Annotated[int, Meta(ge=1, le=MAX_WINDOW_STRIDE)] | None = None
    use_cache: bool = True


class Cancel(Message, frozen=True, tag="cancel", gc=False):
    """Forget a request of this peer; pairs that have not started are dropped, and nothing is answered."""

    id: RequestId


class Welcome(Message, frozen=True, tag="welcome"):
    """Answer ``Hello``: this broker's run (``epoch`` changes when it restarts) and its bounds.

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


ClientMessage = Hello | Rerank | Cancel | GetStatus
BrokerMessage = Welcome | Scores | Refusal | Status
