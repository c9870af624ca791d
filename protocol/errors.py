"""Everything that can go wrong, in one tree.

::

    RerankError
    ├── InvalidRequest      400  the request itself is wrong; sending it again will not help
    │   ├── InvalidArgument 400  the call is wrong whatever its texts are: a type, a negative top_k
    │   ├── TooLarge        413  a bound on documents or bytes, named in the message
    │   └── WrongVersion    400  the two sides speak different versions of the protocol
    └── ServiceError             the request is fine, the service could not answer it
        ├── Overloaded      429  the queue is full; ``retry_after_ms`` says when to retry
        ├── Failed          500  the model failed on it twice, or returned NaN or infinity
        ├── Unavailable     503  no broker, no worker, or it is draining
        └── DeadlineExceeded 504 no answer within the request's time

``code`` is the error's name on the wire and ``status`` its HTTP status: an exception *is* its answer.
"""

from typing import ClassVar


class RerankError(Exception):
    """The root of all errors a caller can meet.

    Attributes:
        message: What was wrong and what to do, one sentence.
        retry_after_ms: When to retry, ms; None where waiting does not help or the time is unknown.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms

    def __reduce__(self) -> tuple[type["RerankError"], tuple[str, int | None]]:
        """Keep both fields through pickling (process pools send exceptions that way)."""
        return type(self), (self.message, self.retry_after_ms)


class InvalidRequest(RerankError):
    """The request itself is wrong."""

    code = "invalid_request"
    status = 400


class InvalidArgument(InvalidRequest):
    """The call is wrong whatever its texts are: an argument of the wrong type or out of range."""


class TooLarge(InvalidRequest):
    """The request is over a bound on documents or bytes."""

    code = "too_large"
    status = 413


class WrongVersion(InvalidRequest):
    """The two sides speak different versions of the protocol."""

    code = "wrong_version"
    status = 400


class ServiceError(RerankError):
    """The request is fine; the service could not answer it."""

    code = "service_error"
    status = 500


class Overloaded(ServiceError):
    """The queue is full; retry after ``retry_after_ms``."""

    code = "overloaded"
    status = 429


class Failed(ServiceError):
    """The model failed on this request."""

    code = "failed"
    status = 500


class Unavailable(ServiceError):
    """There is no broker, no ready worker, or the service is draining."""

    code = "unavailable"
    status = 503


class DeadlineExceeded(ServiceError):
    """There was no answer within the request's time."""

    code = "deadline_exceeded"
    status = 504


_BY_CODE: dict[str, type[RerankError]] = {
    each.code: each
    for each in (InvalidRequest, TooLarge, WrongVersion, Overloaded, Failed, Unavailable, DeadlineExceeded)
}


def error_from_code(code: str, message: str, retry_after_ms: int | None = None) -> RerankError:
    """Return the exception that ``code`` names; ``ServiceError`` for a code this version does not know."""
    return _BY_CODE.get(code, ServiceError)(message, retry_after_ms)
