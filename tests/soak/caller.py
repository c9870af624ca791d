"""One caller that asks without pause and checks each answer: ``python -m ... python|http SOCKET|URL ANSWERS SEED``.

It prints a line for each request: what came of it, and how long that took in seconds. It ends when its standard
output is closed.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from openvino_reranker.client import DeadlineExceeded, Failed, Overloaded, Reranker, Unavailable
from openvino_reranker.tests.soak.questions import TOLERANCE, requests

#: What can come of a request: the right scores; others; the service's own word that it would not, could not, or not in
#: time; a connection that was cut under it (HTTP); no word at all.
OUTCOMES = ("right", "refused", "failed", "late", "cut", "wrong", "lost")

#: How long an answer may take, s: longer than any fault lasts.
TIMEOUT_S = 50.0
_PAUSE_S = 0.2

Ask = Callable[[str, Sequence[str]], list[float] | str]


def over_socket(path: str) -> Ask:
    """Return what asks with the Python client: logits by index, or what came of it."""
    reranker = Reranker(path)

    def ask(query: str, documents: Sequence[str]) -> list[float] | str:
        asked = time.monotonic()
        try:
            hits = reranker.rerank(query, documents, timeout=TIMEOUT_S).hits
        except (Unavailable, Overloaded):
            return "refused"
        except Failed:
            return "failed"
        except DeadlineExceeded:
            # The broker says so at the deadline; the client, only later.
            return "late" if time.monotonic() - asked < TIMEOUT_S + 0.9 else "lost"
        return [hit.score for hit in sorted(hits, key=lambda hit: hit.index)]

    return ask


def over_http(url: str) -> Ask:
    """Return what asks over HTTP."""
    client = httpx.Client(base_url=url, timeout=TIMEOUT_S)

    def ask(query: str, documents: Sequence[str]) -> list[float] | str:
        try:
            answer = client.post("/v1/rerank", json={"query": query, "documents": documents})
        except httpx.ReadTimeout:
            return "lost"
        except httpx.TransportError:
            return "cut"
        if answer.status_code != 200:
            return {429: "refused", 503: "refused", 500: "failed", 504: "late"}.get(answer.status_code, "wrong")
        return [result["score"] for result in sorted(answer.json()["results"], key=lambda result: result["index"])]

    return ask


def main(kind: str, address: str, answers: str, seed: str) -> None:
    ask = {"python": over_socket, "http": over_http}[kind](address)
    for query, documents, logits in requests(Path(answers), int(seed)):
        began = time.monotonic()
        answer = ask(query, documents)
        took = time.monotonic() - began
        if not isinstance(answer, str):
            right = len(answer) == len(logits) and all(
                abs(score - logit) < TOLERANCE for score, logit in zip(answer, logits, strict=True)
            )
            answer = "right" if right else "wrong"
        print(answer, f"{took:.4f}", flush=True)
        if answer != "right":
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main(*sys.argv[1:])
