"""The wire protocol: what it takes, what it refuses, and that a client can be written without our code."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.protocol.client_messages import Rerank
from openvino_reranker.protocol.codec import (
    MAGIC,
    decode_for_worker,
    decode_from_broker,
    decode_from_client,
    decode_from_worker,
    encode,
)
from openvino_reranker.protocol.errors import InvalidRequest, WrongVersion
from openvino_reranker.protocol.worker_messages import Batch
from openvino_reranker.tests.processes import Service


def packed(message: Any) -> bytes:
    found = msgpack.packb(message)
    assert isinstance(found, bytes)
    return found


class Stranger:
    """A client written from the document alone: pyzmq and msgpack."""

    def __init__(self, path: Path) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"ipc://{path}")

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def ask(self, **message: Any) -> Any:
        self.send(b"ORR1", packed(message))
        return self.receive()

    def receive(self, timeout_ms: int = 20_000) -> Any:
        assert self.socket.poll(timeout_ms), "no answer"
        magic, payload = self.socket.recv_multipart()
        assert magic == b"ORR1"
        return msgpack.unpackb(payload)

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def stranger(service: Service) -> Iterator[Stranger]:
    made = Stranger(service.socket)
    yield made
    made.close()


def test_a_client_written_from_the_document_is_served(stranger: Stranger) -> None:
    welcome = stranger.ask(type="hello", name="stranger", pid=1)
    assert welcome["type"] == "welcome"
    assert welcome["limits"]["documents"] == 1000
    answer = stranger.ask(type="rerank", id=b"7", query=b"what is bread?", documents=[b"sky", b"bread"])
    assert answer["type"] == "scores"
    assert answer["id"] == b"7"
    assert answer["scores"][1] > answer["scores"][0]
    assert answer["truncated"] == []
    assert answer["served"]["device"] == "CPU"
    assert set(answer["timings_ms"]) == {"queue", "inference", "total"}
    status = stranger.ask(type="get_status", id=b"8")
    assert (status["type"], status["id"], status["ready"]) == ("status", b"8", True)


@pytest.mark.parametrize(
    ("message", "code", "part"),
    [
        ({"type": "rerank", "id": b"1", "query": b"q", "documents": []}, "invalid_request", "documents is empty"),
        ({"type": "rerank", "id": b"1", "query": b"q", "documents": [b"\xff"]}, "invalid_request", "not valid UTF-8"),
        ({"type": "rerank", "id": b"1", "query": b"q", "documents": [b"d"] * 1001}, "too_large", "1000"),
        ({"type": "rerank", "id": b"1", "query": b"q", "documents": ["text"]}, "invalid_request", "$.documents[0]"),
        ({"type": "rerank", "id": b"", "query": b"q", "documents": [b"d"]}, "invalid_request", "$.id"),
        ({"type": "rerank", "query": b"q", "documents": [b"d"]}, "invalid_request", "`id`"),
        ({"type": "hello", "name": "x" * 65}, "invalid_request", "$.name"),
        ({"type": "hello", "name": "\x1b[2J"}, "invalid_request", "$.name"),
        ({"type": "nonsense"}, "invalid_request", "$.type"),
        ({"type": "pull"}, "invalid_request", "$.type"),
        ([1, 2], "invalid_request", "Expected `object`"),
        ({"type": "rerank", "id": b"1", "query": b"q", "documents": [b""] * 10_001}, "invalid_request", "<= 10000"),
        ({"type": "rerank", "id": b"1"} | {f"key {n}": n for n in range(99)}, "invalid_request", "101 keys"),
        ({"type": "rerank", "id": b"1"} | {f"key {n}": n for n in range(99_998)}, "invalid_request", "100000 keys"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_place(stranger: Stranger, message: Any, code: str, part: str) -> None:
    stranger.send(b"ORR1", packed(message))
    refusal = stranger.receive()
    assert refusal["type"] == "error"
    assert refusal["code"] == code
    assert part in refusal["message"]


@pytest.mark.parametrize(
    ("frames", "code", "part"),
    [
        ([b"ORR2", b""], "wrong_version", "version '2'"),
        ([b"ORR", b""], "wrong_version", "version 1"),
        ([b"HTTP", b"x"], "invalid_request", "not 'ORR'"),
        ([b"ORR1"], "invalid_request", "2 frames, this one has 1"),
        ([b"ORR1", b"\xc1"], "invalid_request", "malformed"),
        ([b"ORR1", b""], "invalid_request", "truncated"),
        ([b"ORR1", b"\x91" * 100_000], "invalid_request", ""),
    ],
)
def test_frames_that_are_no_message(stranger: Stranger, frames: list[bytes], code: str, part: str) -> None:
    stranger.send(*frames)
    refusal = stranger.receive()
    assert (refusal["type"], refusal["code"]) == ("error", code)
    assert part in refusal["message"]
    assert stranger.ask(type="get_status", id=b"still here")["id"] == b"still here"


def test_unknown_keys_are_ignored(stranger: Stranger) -> None:
    message = {"type": "rerank", "id": b"1", "query": b"q", "documents": [b"d"], "from_the_future": {"a": 1}}
    assert stranger.ask(**message)["type"] == "scores"


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_frames_are_decoded_or_refused(frames: list[bytes]) -> None:
    for decode in (decode_from_client, decode_from_broker, decode_from_worker, decode_for_worker):
        for tried in (frames, [MAGIC, *frames]):
            with contextlib.suppress(InvalidRequest):
                decode(tried)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=99), st.lists(st.binary(max_size=99), max_size=9))
def test_a_request_comes_out_as_it_went_in(request_id: bytes, query: bytes, documents: list[bytes]) -> None:
    message = Rerank(request_id, query, documents, 5, "bulk", "me")
    assert decode_from_client(encode(message)) == message
    batch = Batch(3, [query], [(0, document) for document in documents])
    assert decode_for_worker(encode(batch)) == batch


def test_versions_are_told_apart_from_nonsense() -> None:
    with pytest.raises(WrongVersion):
        decode_from_client([b"ORR9", b""])
    with pytest.raises(InvalidRequest):
        decode_from_client([uuid.uuid4().bytes])
