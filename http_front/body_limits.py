"""BodyLimits of requests: how many bytes one may have, how many all together, and how long one may take to come."""

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.types import Message, Receive

from ..protocol.errors import Overloaded, TooLarge
from .errors import HttpError


class BodyLimits:
    """The bodies of the requests that are being answered.

    Law of this class: what a request has sent counts until it is answered.

    Args:
        one_bytes: The longest body.
        all_bytes: What all bodies may have together.
        seconds: How long a body may take to come.
    """

    def __init__(self, one_bytes: int, all_bytes: int, seconds: float) -> None:
        self._one_bytes = one_bytes
        self._all_bytes = all_bytes
        self._seconds = seconds
        self._held = 0

    @contextlib.contextmanager
    def reading(self, receive: Receive, announced: str = "") -> Iterator[Receive]:
        """Return ``receive`` for one request, held to the bounds.

        It raises ``TooLarge``, ``Overloaded``, or ``HttpError`` with 408; and ``TooLarge`` before anything is
        read where ``announced``, the request's ``Content-Length``, is over the bound.
        """
        until = asyncio.get_running_loop().time() + self._seconds
        seen = 0
        complete = False

        async def counted() -> Message:
            nonlocal seen, complete
            if complete:  # what is still to come is that the caller hangs up
                return await receive()
            if announced.isdecimal() and int(announced) > self._one_bytes:
                raise TooLarge(f"the body has {announced} bytes; the limit is {self._one_bytes}")
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HttpError(
                    408, "request_timeout", f"the body did not come within {self._seconds:g} s; {seen} bytes of it did"
                ) from None
            if message["type"] != "http.request":
                return message
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            seen += size
            self._held += size
            if seen > self._one_bytes:
                raise TooLarge(f"the body has more than {self._one_bytes} bytes")
            if self._held > self._all_bytes:
                raise Overloaded(
                    f"too many large requests at once: their bodies have over {self._all_bytes} bytes", 1000
                )
            return message

        try:
            yield counted
        finally:
            self._held -= seen
