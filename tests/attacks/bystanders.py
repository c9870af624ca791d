"""Callers beside an attack: they ask without pause, check each answer, and note how long they waited."""

import threading
import time
from pathlib import Path
from types import TracebackType

from openvino_reranker.client import Reranker

SMALL = ["a", "four", "and eight"]
#: About 130 kB: larger than what is read without asking for room.
LARGE = ["word " * 26_000, "x"]


class Bystanders:
    """One caller of small requests and one of larger ones, until left. The worker scores by length (``TinyWorker``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        #: How long each answer took, s.
        self.small_waits: list[float] = []
        self.large_waits: list[float] = []
        self.wrong: list[object] = []
        self._threads = [
            threading.Thread(target=self._ask, args=asked)
            for asked in ((SMALL, self.small_waits), (LARGE, self.large_waits))
        ]

    @property
    def waits(self) -> list[float]:
        return self.small_waits + self.large_waits

    def _ask(self, documents: list[str], waits: list[float]) -> None:
        right = sorted(range(len(documents)), key=lambda index: -len(documents[index]))
        with Reranker(self._path) as reranker:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    answer: object = reranker.rerank("query", documents, timeout=20).order
                except Exception as error:
                    answer = error
                waits.append(time.monotonic() - began)
                if answer != right:
                    self.wrong.append(answer)
                time.sleep(0.01)

    def __enter__(self) -> "Bystanders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
