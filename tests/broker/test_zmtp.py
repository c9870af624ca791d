"""ZeroMQ's protocol by hand: what is read, what is refused, and that nothing over a bound is kept."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.broker.zmtp import OPENING, Decoder, Parts, Reply, Violation, head
from openvino_reranker.tests.attacks.attacker import COMMAND, GREETING, MORE, READY, announced, part

HELLO = GREETING + part(READY, COMMAND)
MOST = 1000


def read_all(decoder: Decoder, data: bytes, piece: int | None = None) -> list[Parts | Reply]:
    events = []
    for start in range(0, len(data), piece or max(1, len(data))):
        decoder.feed(data[start : start + (piece or len(data))])
        while (event := decoder.next_event()) is not None:
            events.append(event)
    return events


def greeted(most: int = MOST) -> Decoder:
    decoder = Decoder(most)
    assert read_all(decoder, HELLO) == []
    return decoder


@pytest.mark.parametrize("piece", [1, 2, 7, 64, None])
def test_messages_are_read_in_whatever_pieces_they_come(piece: int | None) -> None:
    data = HELLO + part(b"ORR1", MORE) + part(b"x" * 300) + part(b"ORR1", MORE) + part(b"") + part(b"alone")
    events = read_all(Decoder(MOST), data, piece)
    assert events == [Parts([b"ORR1", b"x" * 300]), Parts([b"ORR1", b""]), Parts([b"alone"])]


def test_what_is_written_is_read_again() -> None:
    decoder = Decoder(1 << 20)
    read_all(decoder, OPENING)
    for last in (b"", b"x" * 255, b"x" * 256, b"x" * 100_000):
        assert read_all(decoder, head([b"ORR1", last]) + last) == [Parts([b"ORR1", last])]


def test_a_large_message_in_the_middle_of_others_is_read_whole() -> None:
    large = bytes(range(256)) * 1000
    message = part(b"ORR1", MORE) + part(large)
    for piece in (None, 1 << 16, 5000):
        events = read_all(greeted(1 << 20), message + part(b"a") + message + part(b"b"), piece)
        assert events == [Parts([b"ORR1", large]), Parts([b"a"]), Parts([b"ORR1", large]), Parts([b"b"])]


def test_a_ping_is_answered_with_its_context() -> None:
    (reply,) = read_all(greeted(), part(b"\x04PING\x00\x0acontext", COMMAND))
    assert reply == Reply(part(b"\x04PONGcontext", COMMAND))
    assert read_all(greeted(), part(b"\x04PONGcontext", COMMAND) + part(b"\x07UNKNOWN", COMMAND)) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak"),
        (b"\xff" + bytes(9), "does not speak"),
        (b"\xff" + bytes(8) + b"\x7f\x01", "version 1"),
        (GREETING.replace(b"NULL", b"CURV"), "security"),
        (GREETING + part(b"x"), "before it was ready"),
        (GREETING + part(b"\x05ERROR", COMMAND), "READY"),
        (GREETING + announced(1025, COMMAND), "a command of 1025 bytes"),
        (HELLO + b"\x08\x00", "flags"),
        (HELLO + bytes((COMMAND | MORE, 0)), "flags"),
        (HELLO + announced(256, MORE), "first part of 256 bytes"),
        (HELLO + announced(1 << 40, MORE), "first part"),
        (HELLO + part(b"ORR1", MORE) + announced(0, MORE), "more than 2 parts"),
        (HELLO + part(b"ORR1", MORE) + announced(MOST + 1), f"a message of {MOST + 1} bytes; the limit is {MOST}"),
        (HELLO + part(b"ORR1", MORE) + announced((1 << 64) - 1), "the limit is"),
    ],
)
@pytest.mark.parametrize("piece", [1, None])
def test_what_is_wrong_is_refused_as_soon_as_it_is_announced(data: bytes, reason: str, piece: int | None) -> None:
    with pytest.raises(Violation, match=reason):
        read_all(Decoder(MOST), data, piece)


def test_what_is_announced_is_known_before_it_is_there() -> None:
    decoder = greeted()
    read_all(decoder, part(b"ORR1", MORE) + announced(MOST) + b"123")
    assert (decoder.announced, decoder.missing, len(decoder)) == (MOST, MOST - 3, 3)
    read_all(decoder, bytes(MOST - 3))
    assert (decoder.announced, decoder.missing, len(decoder)) == (0, 0, 0)


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_any_bytes_are_read_or_refused_and_little_is_kept(pieces: list[bytes], hello: bool) -> None:
    decoder = greeted() if hello else Decoder(MOST)
    with contextlib.suppress(Violation):
        for piece in pieces:
            read_all(decoder, piece)
            assert len(decoder) <= MOST + struct.calcsize(">BQ")


@given(
    st.lists(st.tuples(st.binary(max_size=255), st.binary(max_size=MOST)), max_size=8),
    st.integers(1, 500),
)
def test_any_messages_come_out_as_they_went_in(messages: list[tuple[bytes, bytes]], piece: int) -> None:
    data = b"".join(part(first, MORE) + part(last) for first, last in messages)
    assert read_all(greeted(), data, piece) == [Parts([first, last]) for first, last in messages]
