"""The circuit breaker: a device that is lost again and again needs a person, not a further start."""

import contextlib
from pathlib import Path

import msgspec

#: So many losses within so many seconds are too many. A pair that breaks the device by itself makes two.
MOST_LOSSES = 5
WINDOW_S = 600.0


class Losses:
    """When the device was lost, kept in a file of the runtime folder: each loss ends the process that saw it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, now: float) -> bool:
        """Note a loss; return whether it is one too many. Then the count begins anew: a person will have looked.

        Args:
            now: The time, s since the epoch: it must hold across processes.
        """
        times = [time for time in self._read() if now - WINDOW_S < time <= now] + [now]
        if len(times) >= MOST_LOSSES:
            self._path.unlink(missing_ok=True)
            return True
        with contextlib.suppress(OSError):  # at worst, one restart too many
            self._path.write_bytes(msgspec.json.encode(times))
        return False

    def _read(self) -> list[float]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[float])
        except (OSError, msgspec.DecodeError):
            return []
