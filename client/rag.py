"""The five variables by which a RAG program turns reranking on, read once and in one place."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..protocol.limits import DEFAULT_LIMITS
from .encoding import Document
from .endpoint import async_reranker_at, check_endpoint, reranker_at
from .fallback import FallbackResult, arerank_or_keep_order, rerank_or_keep_order

D = TypeVar("D", bound=Document)
_Value = TypeVar("_Value")

_SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class RagSettingError(ValueError):
    """A variable has an invalid value; the message names the variable and its possible values."""


@dataclass(frozen=True, slots=True)
class RagSettings:
    """Whether and how a RAG program reranks.

    Attributes:
        enabled: Rerank at all; if not, the vector store's order is kept and no service is called.
        url: The service's URL, the path of its socket, or empty for the default socket.
        initial_k: Candidates to fetch from the vector store when reranking.
        top_k: Passages to give to the language model.
        timeout_ms: How long reranking may take, ms; after that the vector store's order is kept.
    """

    enabled: bool = False
    url: str = ""
    initial_k: int = 20
    top_k: int = 5
    timeout_ms: int = 3000

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "RagSettings":
        """Read ``RAG_RERANK_ENABLED``, ``_URL``, ``_INITIAL_K``, ``_TOP_K`` and ``_TIMEOUT_MS``.

        A variable that is empty or not set leaves its default. Wrong values are an error also while reranking is
        off, so that turning it on brings no surprise.

        Raises:
            RagSettingError: A value is not allowed.
        """
        environ = os.environ if environ is None else environ
        usual = cls()

        def read(name: str, default: _Value, parse: Callable[[str], _Value]) -> _Value:
            variable = f"RAG_RERANK_{name}"
            text = environ.get(variable, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                raise RagSettingError(f"{variable} is {text!r}; it must be {error}") from None

        settings = cls(
            read("ENABLED", usual.enabled, _switch),
            read("URL", usual.url, _endpoint),
            read("INITIAL_K", usual.initial_k, _whole(DEFAULT_LIMITS.documents)),
            read("TOP_K", usual.top_k, _whole(DEFAULT_LIMITS.documents)),
            read("TIMEOUT_MS", usual.timeout_ms, _whole(DEFAULT_LIMITS.max_deadline_ms)),
        )
        if settings.initial_k < settings.top_k:
            raise RagSettingError(
                f"RAG_RERANK_INITIAL_K is {settings.initial_k} and RAG_RERANK_TOP_K is {settings.top_k}; "
                "fetch at least as many candidates as are kept"
            )
        return settings

    @property
    def fetch_k(self) -> int:
        """How many candidates to ask the vector store for: ``initial_k``, or ``top_k`` while reranking is off."""
        return self.initial_k if self.enabled else self.top_k

    def rerank(self, query: str, candidates: Sequence[D]) -> FallbackResult[D]:
        """Return the ``top_k`` best candidates, or the first ``top_k`` where the service cannot say.

        Args:
            query: The query.
            candidates: In the vector store's order, best first: texts, or mappings with ``text`` and an optional
                ``id``. Nothing is written back to the store.

        Never raises because of the service: ``rerank_error`` says why the given order was kept. While reranking is
        off, that is None and so is ``ranking``.
        """
        if not self.enabled:
            return self._first(candidates)
        reranker = reranker_at(self.url)
        return rerank_or_keep_order(query, candidates, self.top_k, self.timeout_ms / 1000, reranker=reranker)

    async def arerank(self, query: str, candidates: Sequence[D]) -> FallbackResult[D]:
        """Do as ``rerank`` in an asyncio program."""
        if not self.enabled:
            return self._first(candidates)
        reranker = async_reranker_at(self.url)
        return await arerank_or_keep_order(query, candidates, self.top_k, self.timeout_ms / 1000, reranker=reranker)

    def _first(self, candidates: Sequence[D]) -> FallbackResult[D]:
        kept = list(candidates[: self.top_k])
        return FallbackResult(kept, list(range(len(kept))), None, None)


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError("true or false")
    return _SWITCH[text.lower()]


def _endpoint(text: str) -> str:
    check_endpoint(text)
    return text


def _whole(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise ValueError(f"a whole number from 1 to {most}")
        return int(text)

    return parse
