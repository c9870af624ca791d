"""Judged collections: queries with candidates in the first stage's order, and grades; read, and summed up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from .metrics import ndcg, recall, reciprocal_rank

#: How deep the metrics look: the most that a language model is given.
DEPTH = 10

_Id = Annotated[str, msgspec.Meta(min_length=1)] | int
_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_Grade = Annotated[float, msgspec.Meta(ge=0)]


class Candidate(msgspec.Struct, frozen=True):
    """A document that the first stage fetched."""

    id: _Id
    text: str


class Query(msgspec.Struct, frozen=True):
    """A query and what the first stage fetched for it, as a line of a file has them; more keys are ignored."""

    qid: _Id
    query: _Text
    candidates: Annotated[list[Candidate], msgspec.Meta(min_length=1)]

    def ids(self) -> tuple[str, ...]:
        """Return the candidates' ids; raise ``ValueError`` if two are the same."""
        ids = tuple(str(candidate.id) for candidate in self.candidates)
        if len(set(ids)) < len(ids):
            twice = next(name for place, name in enumerate(ids) if name in ids[:place])
            raise ValueError(f"two candidates have the id {twice!r}")
        return ids


class _Line(Query, frozen=True):
    """A line of a judged collection."""

    qrels: dict[str, _Grade]


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query of a judged collection.

    Attributes:
        qid: Its id.
        query: Its text.
        ids: The candidates' ids, in the first stage's order.
        texts: Their texts, in the same order.
        qrels: The grade of every judged document; 0 is not relevant.
    """

    qid: str
    query: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    qrels: Mapping[str, float]

    @property
    def measurable(self) -> bool:
        """Whether any document is relevant; if none is, no order is better than another."""
        return any(grade > 0 for grade in self.qrels.values())


@dataclass(frozen=True, slots=True)
class Quality:
    """The means over the queries of a collection, each 0..1 and taken at ``DEPTH``."""

    ndcg: float
    mrr: float
    recall: float


class WrongLines(ValueError):
    """A collection that cannot be used.

    Attributes:
        lines: What is wrong, each with the number of its line.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read_judged(lines: Iterable[bytes]) -> list[JudgedQuery]:
    """Read a collection, one JSON object a line; blank lines are left out.

    Raises:
        WrongLines: Lines that are not what they must be, or no line at all.
    """
    decoder = msgspec.json.Decoder(_Line)
    queries: list[JudgedQuery] = []
    first_seen: dict[str, int] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            query = _judged(decoder.decode(line))
            if query.qid in first_seen:
                raise ValueError(f"qid {query.qid!r} is already used in line {first_seen[query.qid]}")
        except ValueError as error:  # also what msgspec raises
            wrong.append(f"line {number}: {error}")
            continue
        first_seen[query.qid] = number
        queries.append(query)
    if wrong:
        raise WrongLines(wrong)
    if not queries:
        raise WrongLines(["there is no query in it"])
    return queries


def _judged(line: _Line) -> JudgedQuery:
    texts = tuple(candidate.text for candidate in line.candidates)
    return JudgedQuery(str(line.qid), line.query, line.ids(), texts, line.qrels)


def by_score(query: JudgedQuery, scores: Sequence[float]) -> list[str]:
    """Return the candidates' ids by their scores, best first; ties keep the first stage's order."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])  # sorted() is stable
    return [query.ids[index] for index in order]


def quality(queries: Sequence[JudgedQuery], rankings: Sequence[Sequence[str]]) -> Quality:
    """Return the means over the queries that can be measured.

    Args:
        queries: The collection, of which at least one query is measurable.
        rankings: The ids in the order to be measured, for each query.
    """
    measured = [(ranking, query.qrels) for query, ranking in zip(queries, rankings, strict=True) if query.measurable]
    return Quality(
        *(
            sum(metric(ranking, qrels, DEPTH) for ranking, qrels in measured) / len(measured)
            for metric in (ndcg, reciprocal_rank, recall)
        )
    )
