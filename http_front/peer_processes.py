"""Which process of this machine is at the other end of a TCP connection. Bounded work, off the event loop."""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .sock_diag import SockDiag

#: Descriptors inspected to find one connection's owner: some 20 ms of work at most.
MOST_DESCRIPTORS = 10_000
#: Connections whose owner is being looked for at once; that of others stays unknown.
MOST_LOOKUPS = 32
#: How long a request waits for that, s.
_LOOKUP_S = 0.25
#: Processes that held the last connections: they are inspected first.
_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a connection; ``pid`` is None if the process belongs to another user and may not be inspected."""

    uid: int
    pid: int | None


class PeerProcesses:
    """Finds owners, one after the other in a thread. If the kernel may not be queried, every owner is unknown."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "peer-processes")
        self._lookups = 0
        self._recent: OrderedDict[int, None] = OrderedDict()  # the thread's own, as is the socket
        self._diag: SockDiag | None = None
        with contextlib.suppress(OSError):
            self._diag = SockDiag()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
        if self._diag is not None:
            self._diag.close()

    async def find(self, family: int, peer: tuple[str, int], here: tuple[str, int]) -> Owner | None:
        """Return the owner of the socket at ``peer``, which is connected to ``here``; None if it is not known."""
        if self._diag is None or self._lookups >= MOST_LOOKUPS:
            return None
        self._lookups += 1
        lookup = asyncio.get_running_loop().run_in_executor(self._pool, self._look, self._diag, family, peer, here)
        lookup.add_done_callback(self._note_end)
        done, _ = await asyncio.wait({lookup}, timeout=_LOOKUP_S)
        return lookup.result() if done else None

    def _note_end(self, _lookup: object) -> None:
        self._lookups -= 1

    def _look(self, diag: SockDiag, family: int, peer: tuple[str, int], here: tuple[str, int]) -> Owner | None:
        try:
            owner = diag.owner(family, peer, here)
        except OSError:
            return None
        if owner is None:
            return None
        uid, inode = owner
        pid = None
        if os.getuid() in (uid, 0):
            with contextlib.suppress(OSError):  # no descriptor is left to look with
                pid = self._process_with(uid, inode)
        if pid is not None:
            self._recent[pid] = None
            self._recent.move_to_end(pid)
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return Owner(uid, pid)

    def _process_with(self, uid: int, inode: int) -> int | None:
        """Return the process of ``uid`` that holds a socket; None if it is not found within the bounds."""
        left = MOST_DESCRIPTORS
        for pid in self._likely():
            for link in _descriptors(pid, uid):
                if link == f"socket:[{inode}]":
                    return pid
                left -= 1
            if left <= 0:
                return None
        return None

    def _likely(self) -> Iterator[int]:
        """Yield the processes that held the last connections, then all others; these are listed only if needed."""
        yield from reversed(self._recent)
        yield from _newest_first()


def _newest_first() -> list[int]:
    """Return all pids, newest first: a first request most often comes from a program that has just started."""
    return sorted((int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()), reverse=True)


def _descriptors(pid: int, uid: int) -> Iterator[str]:
    """Yield what the descriptors of a process of ``uid`` are; nothing if it ended or may not be looked at."""
    held = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        if Path(held).stat().st_uid != uid:
            return
        for descriptor in os.listdir(held):  # noqa: PTH208  (thousands of times: pathlib takes three times as long)
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                yield os.readlink(f"{held}/{descriptor}")  # noqa: PTH115  (likewise)
