"""The supported rerank APIs: one table says what each writes. All read the same fields.

A request's dialect is its path's prefix; without one, ``texts`` in the body means text-embeddings-inference, and all
else is the superset of what Cohere's, Jina's and most other clients read. A new dialect is a row in ``DIALECTS`` and
the function that writes its answer.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import PLAIN_ERRORS, STRING_ERRORS, TEI_ERRORS, ErrorForm
from .rerank_answer import Answer, Document, bare_list, superset, voyage_list, with_scores


@dataclass(frozen=True, slots=True)
class Dialect:
    """One rerank API.

    Attributes:
        name: Its prefix in a path; empty for what has none.
        write: Makes the JSON of an answer.
        document: How a result shows its document.
        always_documents: Documents are shown whether they were asked for or not.
        errors: How it words errors.
    """

    name: str
    write: Callable[[Answer], Any]
    document: Document = Document.OBJECT
    always_documents: bool = False
    errors: ErrorForm = PLAIN_ERRORS


PLAIN = Dialect("", superset)
TEI = Dialect("tei", bare_list, Document.TEXT, errors=TEI_ERRORS)
#: The reranker module of Weaviate, which sends ``property`` and reads ``scores``.
WEAVIATE = Dialect("", with_scores, errors=STRING_ERRORS)

#: By the prefix of the path.
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        PLAIN,
        TEI,
        Dialect("cohere", superset),
        Dialect("jina", superset),
        Dialect("vllm", superset, always_documents=True),
        Dialect("infinity", superset, Document.STRING),
        Dialect("voyage", voyage_list, Document.STRING),
    )
}

#: Where to rerank behind the prefix, in any version: the answer is the same.
RERANK_PATH = r"(?:/v[0-9]+)*/(?:rerank|reranking)"
_PREFIXED = re.compile(rf"/(?P<prefix>{'|'.join(filter(None, DIALECTS))})(?P<rest>/.*)", re.DOTALL)


def split_prefix(path: str) -> tuple[Dialect, str]:
    """Return the dialect that a path's prefix names, and the path without it."""
    match = _PREFIXED.fullmatch(path)
    return (DIALECTS[match["prefix"]], match["rest"]) if match else (PLAIN, path)


def dialect_of_body(prefix: Dialect, *, has_texts: bool, has_property: bool) -> Dialect:
    """Return the dialect of a request, from what its path says and what its body holds."""
    if prefix is not PLAIN:
        return prefix
    if has_texts:
        return TEI
    return WEAVIATE if has_property else PLAIN
