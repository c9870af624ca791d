"""The NPU's busy time over overlapping batches: their overlap is counted once."""

from dataclasses import dataclass


@dataclass(slots=True)
class BusyUnion:
    """The union of batches' spans of the busy-time counter.

    Attributes:
        total_us: How far the counter rose during any of the batches, µs.
    """

    total_us: int = 0
    _until: int = 0

    def add(self, delta_us: int, total_us: int) -> None:
        """Add a batch's span.

        Args:
            delta_us: How far the counter rose during the batch, µs.
            total_us: How far it had risen at the batch's end since its worker began, µs.
        """
        if total_us < self._until:  # another worker counts from 0
            self._until = 0
        self.total_us += max(0, total_us - max(total_us - delta_us, self._until))
        self._until = total_us
