"""Who is behind a connection, for fair turns: the program, not the connection.

A connection over a Unix socket belongs to a process: the kernel says which. Of a TCP connection from this machine the
kernel says which user's it is, and ``/proc`` which process holds it, if that may be inspected: if it is one of this
process's own user. So a caller is

- a process, ``uid:pid`` as the broker names its own peers, or else
- a user of this machine, or else
- an address.

Requests of a user or an address are told apart further by *stream*: their connection, or the name that its first
request gave in ``X-Rerank-Caller``. Streams take turns within the one share of their caller, so a name can join
connections but never gain anything. In a process's share the name may change from request to request.
"""

import re
import socket
import struct
from dataclasses import dataclass

from .peer_processes import PeerProcesses

#: The header in which a request may name its stream.
HEADER = "x-rerank-caller"
_NAME = re.compile(r"[\x21-\x7e]{1,64}")

#: ``struct ucred`` of unix(7): pid, uid, gid.
_UCRED = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Charge:
    """Who is charged for a request, and by which of the caller's streams."""

    caller: str
    stream: str = ""


#: Who is charged if there is no connection to inspect.
NOBODY = Charge("http")


class Connection:
    """One connection's caller, found when it first asks for something that must be charged.

    Args:
        accepted: The connection, as ``accept(2)`` returned it.
        peer: Its peer's address and port, of a TCP connection.
        here: Its own.
        processes: Finds the process at the other end.
    """

    def __init__(
        self, accepted: socket.socket, peer: tuple[str, int], here: tuple[str, int], processes: PeerProcesses
    ) -> None:
        self._processes = processes
        self._family = accepted.family
        self._caller: str | None = None
        self._is_process = False
        self._stream: str | None = None
        if accepted.family == socket.AF_UNIX:
            pid, uid, _ = _UCRED.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            self._caller, self._is_process = f"{uid}:{pid}", True
        else:
            self._peer, self._here = peer, here

    async def charge(self, name: str | None) -> Charge:
        """Return who is charged for a request that names its stream ``name`` (None: it does not)."""
        if self._caller is None:
            await self._find_caller()
        assert self._caller is not None
        name = name if name is not None and _NAME.fullmatch(name) else None
        if self._is_process:
            return Charge(self._caller, name or "")
        if self._stream is None:
            self._stream = f"name {name}" if name else f"port {self._peer[1]}"
        return Charge(self._caller, self._stream)

    async def _find_caller(self) -> None:
        owner = await self._processes.find(self._family, self._peer, self._here)
        if owner is None:
            self._caller = f"http {self._peer[0]}"
        elif owner.pid is None:
            self._caller = f"http uid {owner.uid}"
        else:
            self._caller, self._is_process = f"{owner.uid}:{owner.pid}", True
