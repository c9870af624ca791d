"""The service under load, by HTTP or by its socket: how to ask it, and what it says of itself."""

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

from ..client.sync import Reranker
from ..protocol.errors import RerankError, Unavailable, error_from_code
from ..protocol.messages import RequestClass

#: One bench request may wait behind all other callers, s.
TIMEOUT_S = 300.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service is: exactly one of the two is set."""

    url: str | None = None
    socket: Path | None = None

    def __str__(self) -> str:
        return self.url or str(self.socket)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: how long it took, ms, and what the service says of that, or the error's code.

    Errors that no service words: ``unreachable``, ``nonsense`` (an answer that is none), ``lost`` (the caller died).
    """

    took_ms: float
    queue_ms: float = 0.0
    inference_ms: float = 0.0
    tokens: int = 0
    error: str | None = None


class Caller:
    """Asks the target, one request at a time."""

    def __init__(self, target: Target, priority: RequestClass = "interactive") -> None:
        self._url = target.url
        self._priority = priority
        self._reranker = Reranker(target.socket, priority=priority) if target.socket else None

    def ask(self, question: str, passages: list[str]) -> Asked:
        """Ask once; an error is an answer too."""
        started = time.perf_counter()
        try:
            queue, inference, tokens = self._ask(question, passages)
        except RerankError as error:
            code = error.code
        except (OSError, http.client.HTTPException):
            code = "unreachable"
        except (ValueError, LookupError, TypeError):
            code = "nonsense"
        else:
            return Asked((time.perf_counter() - started) * 1000, queue, inference, tokens)
        return Asked((time.perf_counter() - started) * 1000, error=code)

    def _ask(self, question: str, passages: list[str]) -> tuple[float, float, int]:
        if self._reranker is not None:
            ranking = self._reranker.rerank(question, passages, timeout=TIMEOUT_S)
            return ranking.timings_ms.queue, ranking.timings_ms.inference, ranking.tokens
        body = {"query": question, "documents": passages, "priority": self._priority}
        found = fetch(f"{self._url}/rerank", body)
        return found["timings_ms"]["queue"], found["timings_ms"]["inference"], found["usage"]["total_tokens"]

    def status(self) -> dict[str, Any]:
        """Return the service's ``worker``, ``counters`` and ``pids``.

        Raises:
            Unavailable: It is not ready, or not there.
        """
        if self._reranker is None:
            try:
                return dict(fetch(f"{self._url}/readyz", None))
            except (OSError, http.client.HTTPException) as error:
                raise Unavailable(f"cannot reach {self._url}: {error}") from None
        status = self._reranker.status()
        if not status.ready:
            raise Unavailable(status.reason)
        report: dict[str, Any] = msgspec.to_builtins(status)
        report["pids"] = status.pids()
        return report

    def close(self) -> None:
        """Give the connection back."""
        if self._reranker is not None:
            self._reranker.close()


def fetch(url: str, body: object | None, timeout: float = TIMEOUT_S) -> Any:
    """Return the JSON that a GET, or a POST of ``body``, is answered with.

    Raises:
        RerankError: The service answered with an error.
        OSError: It could not be reached.
        ValueError: The URL is not http.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is not an http URL")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  (checked above)
    try:
        # A proxy of this machine's environment would look for the loopback on its own machine.
        opener = _DIRECT if is_loopback(url) else urllib.request.build_opener()
        with opener.open(request, timeout=timeout) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())
        kind = told["error"]["type"] if "error" in told else "unavailable"
        raise error_from_code(kind, told.get("message") or told.get("reason", "")) from None


def is_loopback(url: str) -> bool:
    """Return whether a URL is of this very machine, by its name or address."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
