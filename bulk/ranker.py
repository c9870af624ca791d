"""Ranks rows through a service: retries where that helps, and sets aside the rows for which it does not."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from ..client.ranking import Ranking
from ..client.sync import Reranker
from ..protocol.errors import Failed, InvalidRequest, ServiceError, WrongVersion
from ..protocol.limits import DEFAULT_LIMITS
from .retry_policy import RetryPolicy
from .row import Outcome, Rejected, Row, ranked, read_query

#: Bulk work waits behind all other callers, so it waits as long as the service allows, s.
TIMEOUT_S = DEFAULT_LIMITS.max_deadline_ms / 1000
#: Rows that may be done ahead of one that takes long, as a multiple of those under way.
_AHEAD = 4
#: Between two looks whether all rows were given up, s.
_LOOK_S = 0.05


class JobAborted(Exception):
    """The job cannot go on; the message says why."""


class _Stopped(Exception):
    """The job was stopped before this row was done."""


class Ranker:
    """Ranks rows, any number of threads at once.

    Args:
        reranker: What asks the service.
        top_k: How many candidates of a row to keep; None for all.
        on_wait: Called with what the service said when a row must wait, in any thread.
        retry_policy: How long to wait for it.
    """

    def __init__(
        self,
        reranker: Reranker,
        top_k: int | None = None,
        on_wait: Callable[[ServiceError], object] = lambda _: None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self._reranker = reranker
        self._top_k = top_k
        self._on_wait = on_wait
        self._retry_policy = retry_policy or RetryPolicy(time.monotonic())
        self._stopping = threading.Event()
        self._under_way: set[int] = set()

    def stop(self) -> None:
        """Give up every row under way, and wait until none is."""
        self._stopping.set()
        self._reranker.close()
        while self._under_way:  # one that was about to ask takes the connection again
            time.sleep(_LOOK_S)
            self._reranker.close()

    def rank(self, row: Row) -> Outcome:
        """Rank one row.

        Raises:
            JobAborted: The service has answered nothing for long, or speaks another version.
        """
        self._under_way.add(row.number)
        try:
            query = read_query(row.line)
            candidates = [msgspec.to_builtins(candidate) for candidate in query.candidates]
            return ranked(row.number, query, self._ask(query.query, candidates))
        except WrongVersion as error:
            raise JobAborted(str(error)) from None
        except (ValueError, InvalidRequest, Failed) as error:
            return Rejected(row.number, str(error), row.line)
        finally:
            self._under_way.discard(row.number)

    def _ask(self, query: str, candidates: list[dict[str, object]]) -> Ranking:
        attempt = 0
        while not self._stopping.is_set():
            try:
                ranking = self._reranker.rerank(query, candidates, self._top_k, TIMEOUT_S, priority="bulk")
            except Failed:
                raise
            except ServiceError as error:
                if self._stopping.is_set():
                    break
                pause_s = self._retry_policy.pause_s(error, attempt, time.monotonic())
                if pause_s is None:
                    raise JobAborted(str(error)) from None
                self._on_wait(error)
                attempt += 1
                self._stopping.wait(pause_s)
            else:
                self._retry_policy.heard(time.monotonic())
                return ranking
        raise _Stopped


def rank_in_order(rows: Iterable[Row], rank: Callable[[Row], Outcome], concurrency: int) -> Iterator[Outcome]:
    """Rank rows, ``concurrency`` at a time, and yield what became of them in their order.

    One that takes long does not hold up the others: ``_AHEAD`` times ``concurrency`` at most are done ahead of it.
    """
    pool = ThreadPoolExecutor(concurrency, "bulk")
    under_way: deque[Future[Outcome]] = deque()
    try:
        for row in rows:
            under_way.append(pool.submit(rank, row))
            if len(under_way) >= _AHEAD * concurrency:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
