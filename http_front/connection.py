"""One connection's HTTP, as uvicorn speaks it: with timeouts, our own error bodies, and a lingering close.

This builds on uvicorn's own classes, which are not its public API: its version is capped, and tests run with the
oldest and the newest that are allowed.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from .callers import Connection
from .errors import HttpError, error_response, new_request_id
from .lingering_close import LingeringTransport

#: How long a caller may take to send the head of a request, or the rest of a body that is answered already, s.
HEAD_S = 8.0
#: How long a caller may leave an answer unread, s.
ANSWER_S = 30.0


class Protocol(H11Protocol):
    """uvicorn's protocol, with the timeouts that it lacks.

    Requests find their ``callers.Connection`` in ``scope["state"]``. A connection that owes a request, or does not
    take its answer, is closed in time: uvicorn itself waits for both without end. One that is closed while a body
    still comes reads on for a while, so that its caller gets to read the answer (``lingering_close``).
    """

    _owed: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        self._lingering = LingeringTransport(transport, self.loop, self._owes_body)
        super().connection_made(self._lingering)
        if processes := self.app_state.get("processes"):
            peer, here = (transport.get_extra_info(name)[:2] for name in ("peername", "sockname"))
            connection = Connection(transport.get_extra_info("socket"), peer, here, processes)
            self.app_state = {**self.app_state, "connection": connection}
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._lingering.discards(len(data)):
            return
        super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        """Note that the caller sends no more."""
        self._lingering.end()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        super().connection_lost(exc)
        self._lingering.end()
        for timer in (self._owed, self._unread):
            if timer is not None:
                timer.cancel()

    def shutdown(self) -> None:
        """Finish what was begun: the server stops."""
        super().shutdown()
        self._lingering.end()

    def pause_writing(self) -> None:
        """Wait for the caller to read, but not forever: the answer is held in memory meanwhile."""
        super().pause_writing()
        self._unread = self.loop.call_later(ANSWER_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the caller reads."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says less than ours
        """Answer what is not HTTP."""
        self._refuse(HttpError(400, "invalid_request", "the request is not valid HTTP/1.1"))

    def _owes_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _watch(self) -> None:
        """Run the timeout while it is the caller's turn to send; more bytes do not restart it."""
        at_work = self.cycle is not None and not self.cycle.response_complete
        if self._owed is not None and at_work:
            self._owed.cancel()
            self._owed = None
        elif self._owed is None and not at_work and not self.transport.is_closing():
            self._owed = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        began, _ = self.conn.trailing_data
        if began and self.conn.our_state is h11.IDLE:
            self._refuse(HttpError(408, "request_timeout", f"the request's head did not arrive within {HEAD_S:g} s"))
        else:  # it sent no request, so there is nothing to answer
            self.timeout_keep_alive_handler()

    def _refuse(self, error: HttpError) -> None:
        """Answer a request that no application will see, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer is out already
            answer = error_response(error, new_request_id())
            headers = [*answer.raw_headers, (b"connection", b"close")]
            reason = STATUS_PHRASES[answer.status_code]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers, reason=reason),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
