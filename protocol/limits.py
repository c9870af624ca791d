"""The bounds of the service: what one request may hold, and what may wait at once.

The broker enforces them and states them in its ``welcome``; the client and the HTTP front use the same
numbers to refuse early.
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


#: The defaults.
DEFAULT_LIMITS = Limits()

#: Tokens from one window to the next: far more than any model's window, which bounds it anyhow.
MAX_WINDOW_STRIDE = 1 << 20
#: Documents that are decoded in one request: more than are allowed, so that slightly too many get a clear error.
MAX_DOCUMENTS_READ = 10 * DEFAULT_LIMITS.documents
#: The largest message, bytes: the texts of the largest request, a length of at most 5 bytes before each document that
#: is looked at (msgpack), and 8 KiB for all else. The worker's largest is smaller (``broker.batch_budget``).
MAX_MESSAGE_BYTES = DEFAULT_LIMITS.request_bytes + DEFAULT_LIMITS.query_bytes + 5 * MAX_DOCUMENTS_READ + (8 << 10)
#: Keys of a message, unknown ones included: each takes time to skip, and ours have a dozen.
MAX_KEYS = 100
