"""Whose connection is read next."""

from dataclasses import dataclass

import pytest
from openvino_reranker.broker.reading_turns import ReadingTurns


@dataclass(frozen=True)
class Peer:
    name: str
    process: str


def test_a_process_with_many_connections_is_read_as_often_as_one_with_one() -> None:
    turns: ReadingTurns[Peer] = ReadingTurns()
    many = [Peer(f"many {number}", "a") for number in range(50)]
    for peer in (*many, Peer("one", "b"), Peer("other", "c")):
        turns.add(peer)
    order = []
    for _ in range(9):
        peer = turns.next()
        order.append(peer.process)
        turns.add(peer)  # it has more to say
    assert order == ["a", "b", "c"] * 3


def test_connections_of_one_process_take_turns() -> None:
    turns: ReadingTurns[Peer] = ReadingTurns()
    for name in "xyz":
        turns.add(Peer(name, "a"))
    names = []
    for _ in range(6):
        peer = turns.next()
        names.append(peer.name)
        turns.add(peer)
    assert names == ["x", "y", "z", "x", "y", "z"]


def test_who_waits_already_waits_once() -> None:
    turns: ReadingTurns[Peer] = ReadingTurns()
    assert not turns
    for _ in range(3):
        turns.add(Peer("x", "a"))
    assert turns
    assert turns.next() == Peer("x", "a")
    assert not turns
    with pytest.raises(IndexError):
        turns.next()
