"""Connections to one HTTP server that are kept between requests: a new one costs half a millisecond or more."""

import http.client
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

#: More than any answer has; what is longer does not come from the service, bytes.
_LONGEST_ANSWER = 16 * 1024 * 1024
_CHUNK = 64 * 1024


class Answer(NamedTuple):
    """What a server answered: the status, ``Retry-After`` if there was one, and the body."""

    status: int
    retry_after: str | None
    body: bytes


class ConnectionPool:
    """Idle connections; any number of threads may use it.

    Args:
        make: Returns a connection that is not open yet.
        most: Connections that are kept; with more in use at once, the others are closed after their request.
    """

    def __init__(self, make: Callable[[], http.client.HTTPConnection], most: int = 8) -> None:
        self._make = make
        self._pid = os.getpid()
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=most)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
        """Send a request that may be repeated, and return its answer.

        A server may close an idle connection just when it is used again; then the request is sent on another.

        Args:
            path: Where to.
            body: The request's.
            headers: Beside those that every request has.
            deadline: When to give up, as ``time.monotonic`` counts, s.

        Raises:
            TimeoutError: The deadline has passed.
            OSError, HTTPException: The server cannot be reached, or what it sends is not an answer.
        """
        while True:
            connection, used = self._take()
            try:
                answer = _exchange(connection, path, body, headers, deadline)
            except BaseException as error:
                connection.close()
                if used and isinstance(error, ConnectionError) and not isinstance(error, _Torn):
                    continue
                raise
            self._give_back(connection)
            return answer

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        self.close()

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it has served before."""
        if self._pid != os.getpid():  # after a fork they are the parent's: two processes must not speak on one
            self._pid, self._idle = os.getpid(), deque(maxlen=self._idle.maxlen)
        while True:
            try:
                connection = self._idle.pop()  # the one used last has the longest to live
            except IndexError:
                return self._make(), False
            if not _readable(connection):
                return connection, True
            connection.close()  # the server closed it, or sent what nobody asked for

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose last answer was read to its end, unless the server closes it or enough are kept."""
        if connection.sock is None or len(self._idle) == self._idle.maxlen:
            connection.close()
        else:
            self._idle.append(connection)


class _Torn(ConnectionError):
    """The connection was closed in the middle of an answer."""


def _exchange(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str], deadline: float
) -> Answer:
    """Send a request on a connection and read its answer to the end."""
    connection.timeout = _left_s(deadline)
    if connection.sock is not None:
        connection.sock.settimeout(_left_s(deadline))
    try:
        connection.request("POST", path, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):  # refused early: the answer may say why
        if connection.sock is None:
            raise
    sock = connection.sock
    assert sock is not None
    sock.settimeout(_left_s(deadline))
    with connection.getresponse() as response:
        answer = bytearray()
        try:
            while chunk := response.read1(_CHUNK):
                answer += chunk
                if len(answer) > _LONGEST_ANSWER:
                    raise http.client.HTTPException(f"it sent more than {_LONGEST_ANSWER} bytes")
                sock.settimeout(_left_s(deadline))
        except ConnectionError as error:
            raise _Torn(str(error)) from None
        if response.length:
            raise _Torn("it closed the connection in the middle of an answer")
    return Answer(response.status, response.getheader("Retry-After"), bytes(answer))


def _left_s(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _readable(connection: http.client.HTTPConnection) -> bool:
    poller = select.poll()
    poller.register(connection.sock, select.POLLIN)
    return bool(poller.poll(0))
