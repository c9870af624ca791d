"""Questions and passages to load a service with: real-looking, of mixed lengths, and no two passages alike."""

from collections.abc import Iterator
from itertools import count, cycle, islice

from ..npu_worker.model.calibration import pairs


def requests(passages: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield requests without end: a question and ``passages`` passages, the same ones for the same ``seed``.

    Each passage begins with a number of its own, because identical pairs are computed only once.
    """
    known = list(pairs())
    texts = cycle([passage for _, passage in known])
    for _ in range(seed * 11 % len(known)):
        next(texts)
    for number in count():
        question = known[(seed * 7 + number) % len(known)][0]
        yield question, [f"{seed}-{number}-{place} {next(texts)}" for place in range(passages)]


def chosen(passages: int, seed: int, numbers: range) -> Iterator[tuple[str, list[str]]]:
    """Yield the requests of these numbers; the first is 0."""
    return islice(requests(passages, seed), numbers.start, numbers.stop)
