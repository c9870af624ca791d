"""How a message is written: two ZeroMQ frames, ``MAGIC`` (three letters and the version), then the msgpack map.

Unknown keys are ignored, so a minor addition needs no new version; everything else that does not fit is refused with
an error that says where (``$.documents[3]``).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from .client_messages import BrokerMessage, ClientMessage
from .errors import InvalidRequest, WrongVersion
from .limits import MAX_KEYS
from .message import Message
from .worker_messages import BrokerToWorker, WorkerMessage

VERSION = 1
MAGIC_NAME = b"ORR"
MAGIC = MAGIC_NAME + str(VERSION).encode()

_encode = msgspec.msgpack.Encoder().encode
_from_client = msgspec.msgpack.Decoder(ClientMessage)
_from_broker = msgspec.msgpack.Decoder(BrokerMessage)
_from_worker = msgspec.msgpack.Decoder(WorkerMessage)
_to_worker = msgspec.msgpack.Decoder(BrokerToWorker)


def encode(message: Message) -> list[bytes]:
    """Return the two frames of a message."""
    return [MAGIC, _encode(message)]


def decode_from_client(frames: Sequence[bytes | bytearray | memoryview]) -> ClientMessage:
    """Read what a client sent.

    Raises:
        WrongVersion: The first frame names another version.
        InvalidRequest: The frames are not a message of the protocol; the text says where.
    """
    message: ClientMessage = _decode(_from_client, frames)
    return message


def decode_from_broker(frames: Sequence[bytes | bytearray | memoryview]) -> BrokerMessage:
    """Read what the broker sent a client. Raises as ``decode_from_client``."""
    message: BrokerMessage = _decode(_from_broker, frames)
    return message


def decode_from_worker(frames: Sequence[bytes | bytearray | memoryview]) -> WorkerMessage:
    """Read what a worker sent. Raises as ``decode_from_client``."""
    message: WorkerMessage = _decode(_from_worker, frames)
    return message


def decode_for_worker(frames: Sequence[bytes | bytearray | memoryview]) -> BrokerToWorker:
    """Read what the broker sent a worker. Raises as ``decode_from_client``."""
    message: BrokerToWorker = _decode(_to_worker, frames)
    return message


def _decode(decoder: Any, frames: Sequence[bytes | bytearray | memoryview]) -> Any:
    if not frames or bytes(frames[0][:3]) != MAGIC_NAME:
        raise InvalidRequest("the first frame is not 'ORR' and a version: this is not the protocol of this socket")
    if frames[0] != MAGIC:
        theirs = bytes(frames[0][3:11]).decode("ascii", "replace")
        raise WrongVersion(f"protocol version {theirs!r} is not spoken here; this side speaks version {VERSION}")
    if len(frames) != 2:
        raise InvalidRequest(f"a message has 2 frames, this one has {len(frames)}")
    if (keys := _keys(frames[1])) > MAX_KEYS:
        raise InvalidRequest(f"a message of {keys} keys; the limit is {MAX_KEYS}")
    try:
        return decoder.decode(frames[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the message does not fit the protocol: {error}") from error


def _keys(payload: bytes | bytearray | memoryview) -> int:
    """Return how many keys a msgpack map says it has, if that takes more than its first byte; else 0."""
    if payload[:1] == b"\xde":
        return int.from_bytes(payload[1:3], "big")
    return int.from_bytes(payload[1:5], "big") if payload[:1] == b"\xdf" else 0
