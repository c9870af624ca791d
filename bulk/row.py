"""Rows of a bulk job, in and out. Plain code: bytes and rankings go in, lines come out."""

from dataclasses import dataclass

import msgspec

from ..bench.judged import Query
from ..client.ranking import Ranking

_decoder = msgspec.json.Decoder(Query)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input: its number, from 1, and the JSON object that it is."""

    number: int
    line: bytes


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row's line for the output, and the model that ranked it."""

    number: int
    line: bytes
    model: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be ranked, and why."""

    number: int
    error: str
    line: bytes


Outcome = Ranked | Rejected


class RankedCandidate(msgspec.Struct, frozen=True):
    """One candidate's place in a ranking, and its scores."""

    id: str
    index: int
    score: float
    relevance_score: float
    truncated: bool


class Answer(msgspec.Struct, frozen=True):
    """A line of the output: the row's number and qid, what ranked it, and its candidates, best first."""

    row: int
    qid: str
    model: str
    device: str
    precision: str
    ranking: list[RankedCandidate]


class Rejection(msgspec.Struct, frozen=True):
    """A line that sets a row aside."""

    row: int
    error: str
    line: str


def read_query(line: bytes) -> Query:
    """Return the query of a row.

    Raises:
        ValueError: It is not one; says what is wrong.
    """
    try:
        query = _decoder.decode(line)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    query.ids()
    return query


def ranked(number: int, query: Query, ranking: Ranking) -> Ranked:
    """Return what the output says of a row."""
    ids = query.ids()
    candidates = [
        RankedCandidate(ids[hit.index], hit.index, hit.score, hit.relevance_score, hit.truncated)
        for hit in ranking.hits
    ]
    answer = Answer(number, str(query.qid), ranking.model, ranking.device, ranking.precision, candidates)
    return Ranked(number, msgspec.json.encode(answer), ranking.model)


def rejection(rejected: Rejected) -> bytes:
    """Return the line that sets a row aside: its number, what is wrong, and the row itself."""
    return msgspec.json.encode(Rejection(rejected.number, rejected.error, as_text(rejected.line)))


def as_text(line: bytes) -> str:
    """Return a row as it is shown where it was set aside."""
    return line.decode("utf-8", "replace").rstrip("\r\n")
