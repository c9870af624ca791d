"""Questions and passages to load a service with: real-looking, of mixed lengths, and no two passages alike."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle, islice

from ..npu_worker.model.calibration import pairs


@dataclass(frozen=True, slots=True)
class Workload:
    """The texts of one run, the same ones for the same ``salt``.

    Each passage begins with the salt and a number of its own, because identical pairs are computed only once: another
    run has another salt, and finds nothing of this one in the score cache.

    Attributes:
        repeat: The share of a request's passages that the caller had asked before, 0 to 1. Above 0 a caller asks one
            question again and again, as a person searching does.
        salt: What tells this run's texts from another's.
    """

    repeat: float = 0.0
    salt: str = field(default_factory=lambda: secrets.token_hex(3))

    def requests(self, passages: int, seed: int) -> Iterator[tuple[str, list[str]]]:
        """Yield a caller's requests without end: a question and ``passages`` passages."""
        samples = list(pairs())
        texts = cycle([passage for _, passage in samples])
        for _ in range(seed * 11 % len(samples)):
            next(texts)
        repeated = round(passages * self.repeat)
        before: list[str] = []
        for number in count():
            question = samples[(seed * 7 + (0 if self.repeat else number)) % len(samples)][0]
            kept = before[:repeated]
            new = [f"{self.salt}-{seed}-{number}-{place} {next(texts)}" for place in range(passages - len(kept))]
            before = kept + new
            yield question, before

    def chosen(self, passages: int, seed: int, numbers: range) -> Iterator[tuple[str, list[str]]]:
        """Yield a caller's requests of these numbers; the first is 0."""
        return islice(self.requests(passages, seed), numbers.start, numbers.stop)

    def opening(self, seed: int) -> tuple[str, list[str]]:
        """Return a request of one passage that is none of the caller's others, to open its connection with."""
        question, (passage,) = next(self.requests(1, seed))
        return question, [f"opening {passage}"]
