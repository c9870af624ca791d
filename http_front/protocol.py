"""One connection's HTTP, as uvicorn speaks it, with a name for who is behind a Unix socket."""

import asyncio
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

#: ``struct ucred`` of unix(7): pid, uid, gid.
_UCRED = struct.Struct("iII")


class Protocol(H11Protocol):
    """uvicorn's protocol; the client of a Unix socket is ``("uid 1000 pid 4711", 0)`` instead of nobody."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        made = transport.get_extra_info("socket")
        if made is not None and made.family == socket.AF_UNIX:
            pid, uid, _ = _UCRED.unpack(made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            self.client = (f"uid {uid} pid {pid}", 0)
