"""Room for large messages while they arrive, shared by all connections of a socket: who may send one now, who waits.

A message that is large enough to count asks for all its room when its length is announced, and is read only once it
has it; so those that have room can always finish, and what is on its way is never more than ``total``. A process
has room for one message of the largest size, whatever it opens, so that it cannot keep others waiting; and while
others wait, a sender that has had room for ``UPLOAD_TIMEOUT_S`` without finishing loses it.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

#: How long a message may take to arrive while others wait for its room, s. On one machine 16 MiB take milliseconds.
UPLOAD_TIMEOUT_S = 2.0

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class _Claim:
    process: str
    size: int
    since: float


class ReceiveBudget(Generic[_Key]):
    """See above. A connection has one message on its way, so the connection is the key.

    Args:
        total: Bytes for all.
        share: Bytes for one process; its first message always fits into its share.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._admitted: dict[_Key, _Claim] = {}
        self._waiting: dict[_Key, _Claim] = {}
        self._used = 0
        self._used_by: dict[str, int] = {}

    def ask(self, key: _Key, process: str, size: int, now: float) -> bool:
        """Ask for room; if there is none, wait for it (see ``admit``)."""
        self._waiting[key] = _Claim(process, size, now)
        return key in self.admit(now)

    def leave(self, key: _Key) -> None:
        """Give up a place, whether it is held or waited for; ``admit`` then returns whose it is."""
        self._waiting.pop(key, None)
        if (claim := self._admitted.pop(key, None)) is not None:
            self._used -= claim.size
            self._used_by[claim.process] -= claim.size
            if not self._used_by[claim.process]:
                del self._used_by[claim.process]

    def admit(self, now: float) -> list[_Key]:
        """Give room to those that waited longest; return who has it now.

        A message that waits for its own process's room is passed over; one that waits for the total is not, or it might
        wait forever.
        """
        admitted = []
        for key, claim in list(self._waiting.items()):
            used = self._used_by.get(claim.process, 0)
            if used and used + claim.size > self._share:
                continue
            if self._used and self._used + claim.size > self._total:
                break
            del self._waiting[key]
            self._admitted[key] = _Claim(claim.process, claim.size, now)
            self._used += claim.size
            self._used_by[claim.process] = used + claim.size
            admitted.append(key)
        return admitted

    def overdue(self, now: float) -> list[_Key]:
        """Return who must give up its room: others wait, and it has had it for ``UPLOAD_TIMEOUT_S``."""
        if not self._waiting:
            return []
        return [key for key, claim in self._admitted.items() if now >= claim.since + UPLOAD_TIMEOUT_S]

    def next_wakeup(self) -> float | None:
        """Return when ``overdue`` may change by time alone, or None."""
        if not self._waiting or not self._admitted:
            return None
        return min(claim.since for claim in self._admitted.values()) + UPLOAD_TIMEOUT_S
