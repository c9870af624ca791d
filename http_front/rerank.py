"""The handler of rerank requests, in every dialect."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..client.aio import AsyncReranker
from ..client.ranking import Ranking
from ..protocol.errors import RerankError, Unavailable
from .body_reader import BODY_BYTES, Body, BodyReader
from .body_room import SMALL_BYTES
from .callers import HEADER, NOBODY, Charge, Connection
from .content_encoding import inflate
from .dialects import Dialect, split_prefix
from .errors import HttpError, error_response, json_response, new_request_id
from .rerank_answer import Answer
from .rerank_body import Refused, RerankBody, read_rerank_body

logger = logging.getLogger("openvino_reranker.http")

#: A request that takes this long is logged, s.
SLOW_S = 2.0
#: How long the thread for large bodies rests after each, s: it holds the interpreter while it works, and the event
#: loop must get several turns in between to answer anybody.
_REST_S = 0.05

_Result = TypeVar("_Result")


class _Gone(Exception):
    """The caller closed its connection."""


class RerankHandler:
    """Answers rerank requests.

    Args:
        reranker: The connection to the broker.
        bodies: Reads bodies.
        timeout_s: How long a request may take, seconds.
        strict_model: Refuse requests that name another model than the one that serves.
    """

    def __init__(self, reranker: AsyncReranker, bodies: BodyReader, timeout_s: float, *, strict_model: bool) -> None:
        self._reranker = reranker
        self._bodies = bodies
        self._timeout_s = timeout_s
        self._strict_model = strict_model
        self._under_way: set[asyncio.Future[Ranking]] = set()
        self._thread = ThreadPoolExecutor(1, "large-bodies")

    def give_up(self) -> None:
        """Answer all requests in progress with ``unavailable``: the front stops."""
        for ranking in self._under_way:
            ranking.cancel()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        request_id = new_request_id()
        arrived = time.monotonic()
        dialect, _ = split_prefix(request.scope["path"])
        try:
            response = await self._answer(request, dialect, request_id, arrived)
        except (_Gone, ClientDisconnect):
            _log(request_id, 499, arrived, "its caller went away")
            return Response(status_code=499)  # no caller reads it
        except Refused as refused:
            return _refuse(refused.error, request_id, arrived, refused.dialect)
        except RerankError as error:
            return _refuse(error, request_id, arrived, dialect)
        return response

    async def _answer(self, request: Request, prefix: Dialect, request_id: str, arrived: float) -> Response:
        async with self._bodies.read(request) as body:
            large = body.gzip or len(body.data) > SMALL_BYTES
            parsed = await self._run(large, lambda: _read(body, prefix, _rest if large else lambda: None))
            body.data = bytearray()
            body.reservation.shrink(sum(map(len, parsed.texts)))
            try:
                if self._strict_model and parsed.model is not None:
                    await self._check_model(parsed.model)
                ranking = await self._rank(request, parsed, request_id)
            except RerankError as error:
                raise Refused(error, parsed.dialect) from None
            in_thread = large and parsed.shows_documents
            response = await self._run(in_thread, lambda: _write(parsed, ranking, request_id, arrived))
            _log(request_id, 200, arrived, f"{len(parsed.texts)} documents")
            return response

    async def _run(self, in_thread: bool, work: Callable[[], _Result]) -> _Result:
        """Run what may take long where it blocks no other request."""
        if not in_thread:
            return work()

        def then_rest() -> _Result:
            try:
                return work()
            finally:
                _rest()

        return await asyncio.get_running_loop().run_in_executor(self._thread, then_rest)

    async def _check_model(self, name: str) -> None:
        status = await self._reranker.status(timeout=2.0)
        if status.worker.model is not None and not is_model(name, status.worker.model):
            raise HttpError(404, "model_not_found", f"model {name!r} is not served here; {status.worker.model} is")

    async def _rank(self, request: Request, body: RerankBody, request_id: str) -> Ranking:
        """Ask the broker; cancel the request when the caller goes away."""
        charge = await _charge(request)
        ranking = asyncio.ensure_future(
            self._reranker.rerank_encoded(
                body.query,
                body.texts,
                body.ids,
                body.top_k,
                self._timeout_s,
                priority=body.priority,
                max_windows=body.max_windows,
                window_stride=body.window_stride,
                use_cache="no-cache" not in request.headers.get("cache-control", "").lower(),
                caller=charge.caller,
                stream=charge.stream,
                wire_id=request_id.encode(),  # one id in the logs of front and broker
            )
        )
        gone = asyncio.ensure_future(_disconnected(request))
        self._under_way.add(ranking)
        try:
            await asyncio.wait({ranking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if ranking.cancelled():
                raise Unavailable("the HTTP front was stopped before this request was done")
            if ranking.done():
                return ranking.result()
            raise _Gone
        finally:
            self._under_way.discard(ranking)
            ranking.cancel()
            gone.cancel()


def is_model(name: str, served: str) -> bool:
    """Return whether a request that names a model means the one that is served: whole, or its last part."""
    served = served.removesuffix(" (int8)").lower()
    return name.lower() in (served, served.rpartition("/")[2], served.rpartition(":")[2])


def _rest() -> None:
    time.sleep(_REST_S)


def _read(body: Body, prefix: Dialect, rest: Callable[[], None]) -> RerankBody:
    data = inflate(body.data, BODY_BYTES) if body.gzip else body.data
    return read_rerank_body(data, prefix, rest=rest)


def _write(body: RerankBody, ranking: Ranking, request_id: str, arrived: float) -> Response:
    answer = Answer(
        ranking=ranking,
        texts=body.texts,
        document=body.dialect.document if body.shows_documents else None,
        raw_scores=body.raw_scores,
        score_threshold=body.score_threshold,
        request_id=request_id,
        total_ms=(time.monotonic() - arrived) * 1000,
    )
    return json_response(body.dialect.write(answer), headers={"x-request-id": request_id})


def _refuse(error: RerankError, request_id: str, arrived: float, dialect: Dialect) -> Response:
    response = error_response(error, request_id, dialect.errors)
    _log(request_id, response.status_code, arrived, error.message if response.status_code >= 500 else "")
    return response


def _log(request_id: str, status: int, arrived: float, what: str) -> None:
    """One line per request: what failed or took long for everybody to see, the rest for ``--verbose``."""
    seconds = time.monotonic() - arrived
    level = logging.WARNING if status >= 500 else logging.INFO if status not in (200, 499) else logging.DEBUG
    if seconds >= SLOW_S:
        level = max(level, logging.INFO)
    logger.log(level, "%s %d after %.0f ms%s", request_id, status, seconds * 1000, f": {what}" if what else "")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _charge(request: Request) -> Charge:
    """Return who is charged for a request, for fair turns."""
    connection: Connection | None = request.scope.get("state", {}).get("connection")
    return NOBODY if connection is None else await connection.charge(request.headers.get(HEADER))
