"""The service that is measured, by its HTTP front or by its socket: how to ask it, and what it says of itself."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from ..client.over_http import API_KEY_VARIABLE, HttpReranker, authorization
from ..client.sync import Reranker
from ..protocol.errors import RerankError, Unavailable
from ..protocol.message import RequestClass

#: One bench request may wait behind all other callers, s.
TIMEOUT_S = 300.0
#: A status is answered at once, or there is no service, s.
_STATUS_TIMEOUT_S = 5.0
# A proxy would look for the loopback on its own machine, and HttpReranker asks none either.
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service is: exactly one of the two is set."""

    url: str | None = None
    socket: Path | None = None

    def __str__(self) -> str:
        return self.url or str(self.socket)

    @property
    def is_here(self) -> bool:
        """Whether the service runs on this machine, as far as its address tells."""
        host = urllib.parse.urlsplit(self.url or "").hostname or "localhost"
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def reranker(self, priority: RequestClass = "interactive") -> Reranker | HttpReranker:
        """Return what asks it, to be closed by the caller.

        Raises:
            ValueError: The URL is not one of http.
        """
        if self.url is not None:
            return HttpReranker(self.url, priority=priority)
        return Reranker(self.socket, priority=priority)

    def status(self) -> dict[str, Any]:
        """Return ``ready``, ``reason``, ``worker``, ``counters`` and ``pids``; only the first two are sure to be there.

        Raises:
            Unavailable: It cannot be reached.
            ValueError: The URL is not one of http, or something else answers there.
        """
        if self.url is not None:
            return _readiness(self.url.rstrip("/"))
        with Reranker(self.socket) as reranker:
            status = reranker.status()
        report: dict[str, Any] = msgspec.to_builtins(status)
        return report | {"pids": status.pids()}

    def status_when_ready(self) -> dict[str, Any]:
        """Return the same of a service that is ready.

        Raises:
            Unavailable: It is not, or cannot be reached.
            ValueError: As ``status``, or it shows no more without an API key.
        """
        status = self.status()
        if not status["ready"]:
            raise Unavailable(str(status["reason"]))
        if "worker" not in status:
            raise ValueError(f"{self} asks for an API key: set {API_KEY_VARIABLE} to one")
        return status


def _readiness(url: str) -> dict[str, Any]:
    HttpReranker(url)  # it is an http URL
    request = urllib.request.Request(f"{url}/readyz", headers=authorization())  # noqa: S310 (an http URL, see above)
    try:
        with _open_directly(request, timeout=_STATUS_TIMEOUT_S) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()  # 503, and why
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"cannot reach {url}: {error}") from None
    try:
        report: dict[str, Any] = {"reason": "", **json.loads(body)}
        return report | {"ready": bool(report["ready"])}
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"what answers at {url} is not the rerank service") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: how long it took, ms, and what the service says of that, or the error's code.

    A code that is not the service's: ``lost`` (the caller died).
    """

    took_ms: float
    queue_ms: float = 0.0
    inference_ms: float = 0.0
    tokens: int = 0
    error: str | None = None


class Caller:
    """Asks the target, one request at a time, and measures that.

    Raises:
        ValueError: As ``Target.reranker``.
    """

    def __init__(self, target: Target, priority: RequestClass = "interactive") -> None:
        self._reranker = target.reranker(priority)

    def ask(self, question: str, passages: list[str]) -> Answer:
        """Ask once; an error is an answer too."""
        started = time.perf_counter()
        try:
            ranking = self._reranker.rerank(question, passages, timeout=TIMEOUT_S)
        except RerankError as error:
            return Answer((time.perf_counter() - started) * 1000, error=error.code)
        took_ms = (time.perf_counter() - started) * 1000
        return Answer(took_ms, ranking.timings_ms.queue, ranking.timings_ms.inference, ranking.tokens)

    def close(self) -> None:
        """Give the connection back."""
        self._reranker.close()
