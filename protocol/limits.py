"""The bounds of the service: what one request may hold, and what may wait at once.

The broker enforces them and states them in its ``welcome``; the client and the HTTP front use the same
numbers to refuse early, because ZeroMQ cuts a connection that sends too large a frame without a word.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds on a request, on the queue, and on time. Bytes are those of the UTF-8 texts.

    A request is within the bounds or it is refused whole, with an error that names the bound.
    """

    #: Documents in one request.
    documents: int = 1000
    #: Bytes of one document.
    document_bytes: int = 1 << 20
    #: Bytes of the query.
    query_bytes: int = 64 << 10
    #: Bytes of all texts of one request.
    request_bytes: int = 16 << 20
    #: Pairs waiting in the broker, of all callers.
    queued_pairs: int = 20_000
    #: Pairs waiting of one caller.
    caller_pairs: int = 10_000
    #: Bytes of texts waiting in the broker, of all callers.
    queued_bytes: int = 256 << 20
    #: Bytes waiting of one caller.
    caller_bytes: int = 128 << 20
    #: Windows of one document.
    windows: int = 64
    #: Time a request may take when it names none, ms.
    default_deadline_ms: int = 30_000
    #: The longest deadline a request may name, ms.
    max_deadline_ms: int = 600_000


#: A frame over this is no request of ours; ZeroMQ drops the connection (``ZMQ_MAXMSGSIZE``), bytes.
MAX_FRAME_BYTES = 64 << 20

#: What holds when nobody says otherwise.
DEFAULT_LIMITS = Limits()
