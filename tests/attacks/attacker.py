"""A caller that means harm, as a program of its own: ``python -m ... SOCKET ATTACK SECONDS [--full]``.

It speaks ZeroMQ's protocol by hand, because no library lets one break it. Every attack goes on until its time is up,
connecting again where it is disconnected; it prints how often that was.
"""

import argparse
import itertools
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from openvino_reranker.broker.connection import CHUNK_BYTES
from openvino_reranker.protocol.client_messages import Hello, Rerank
from openvino_reranker.protocol.codec import MAGIC, encode
from openvino_reranker.protocol.status_messages import GetStatus

READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4
LARGEST = 16 << 20


def announced(size: int, flags: int = 0) -> bytes:
    """A part's header."""
    return struct.pack(">BQ", flags | LONG, size) if size > 255 else bytes((flags, size))


def part(body: bytes, flags: int = 0) -> bytes:
    return announced(len(body), flags) + body


def message(payload: bytes) -> bytes:
    return part(MAGIC, MORE) + part(payload)


def packed(value: object) -> bytes:
    """MessagePack's strings, binaries and what is packed already, for maps that no encoder would write."""
    if isinstance(value, str):
        return bytes((0xA0 + len(value),)) + value.encode()
    assert isinstance(value, bytes)
    return value


def map_of(entries: int, body: bytes) -> bytes:
    return b"\xdf" + struct.pack(">I", entries) + body


def array_of(count: int, item: bytes) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + item * count


RERANK = b"".join(map(packed, ("type", "rerank", "id", b"\xc4\x01a", "query", b"\xc4\x01q")))


class Peer:
    """A connection that has greeted."""

    def __init__(self, path: Path, *, greet: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(str(path))
        if greet:
            self.socket.sendall(GREETING + part(READY, COMMAND))

    def send(self, data: bytes) -> None:
        """Send as much as is taken at once; a peer that is not read any more goes on nevertheless."""
        self.socket.sendall(data)


class Attacker:
    def __init__(self, path: Path, seconds: float, *, full: bool) -> None:
        self.path = path
        self.full = full
        self.until = time.monotonic() + seconds
        self.peers: list[Peer] = []
        self.disconnected = 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    def connect(self, count: int, *, greet: bool = True) -> None:
        """Have ``count`` connections, as far as the broker takes them."""
        while len(self.peers) < count and self.goes_on:
            try:
                self.peers.append(Peer(self.path, greet=greet))
            except OSError:
                time.sleep(0.01)

    def drop(self, peer: Peer) -> None:
        self.disconnected += 1
        self.peers.remove(peer)
        peer.socket.close()

    def pour(self, streams: "dict[Peer, Iterator[bytes]]") -> None:
        """Send to many peers at once, whoever reads, until their streams end."""
        left: dict[Peer, bytes] = {}
        for peer in streams:
            peer.socket.setblocking(False)
        while streams and self.goes_on:
            stuck = True
            for peer, stream in list(streams.items()):
                data = left.pop(peer, b"") or next(stream, b"")
                if not data:
                    del streams[peer]
                    continue
                try:
                    sent = peer.socket.send(data)
                    stuck = False
                except BlockingIOError:
                    sent = 0
                except OSError:
                    del streams[peer]
                    self.drop(peer)
                    continue
                if sent < len(data):
                    left[peer] = data[sent:]
            if stuck:
                time.sleep(0.001)

    def hold(self) -> None:
        """Keep everything open, silently."""
        while self.goes_on:
            time.sleep(0.05)


ATTACKS: dict[str, Callable[[Attacker], None]] = {}


def attack(function: Callable[[Attacker], None]) -> Callable[[Attacker], None]:
    ATTACKS[function.__name__] = function
    return function


def large(attacker: Attacker, payload: bytes) -> None:
    """A message, again and again, on several connections at once, its answers read."""
    whole = message(payload)
    while attacker.goes_on:
        attacker.connect(8 if attacker.full else 4)
        attacker.pour({peer: iter([whole]) for peer in attacker.peers})
        for peer in list(attacker.peers):
            try:
                while attacker.goes_on:
                    if not peer.socket.recv(1 << 16):
                        raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                attacker.drop(peer)


def large_flood(attacker: Attacker, data: bytes) -> None:
    attacker.connect(64 if attacker.full else 16)
    while attacker.goes_on:
        attacker.connect(16)
        attacker.pour({peer: iter([data]) for peer in attacker.peers})
        for peer in list(attacker.peers):
            try:
                while peer.socket.recv(1 << 18):
                    pass
            except BlockingIOError:
                pass
            except OSError:
                attacker.drop(peer)


@attack
def many_parts(attacker: Attacker) -> None:
    """One message of millions of parts, one byte each."""
    flood = part(MAGIC, MORE) + part(b"x", MORE) * (3_000_000 if attacker.full else 300_000) + part(b"x")
    while attacker.goes_on:
        attacker.connect(1)
        attacker.pour({attacker.peers[0]: iter([flood])})
        for peer in list(attacker.peers):
            attacker.drop(peer)


@attack
def unfinished_multiparts(attacker: Attacker) -> None:
    """Many connections, each with a message that has part after part and never ends."""
    piece = part(bytes(255), MORE) * 4000
    count, pieces = (25, 60) if attacker.full else (10, 20)
    attacker.connect(count)
    attacker.pour({peer: itertools.repeat(piece, pieces) for peer in attacker.peers})
    attacker.hold()


@attack
def unfinished_messages(attacker: Attacker) -> None:
    """Many connections, each with a message of the largest size that lacks its last byte."""
    count = 25 if attacker.full else 8
    while attacker.goes_on:
        attacker.connect(count)
        begun = part(MAGIC, MORE) + announced(LARGEST) + bytes(LARGEST - 1)
        attacker.pour({peer: iter([begun]) for peer in attacker.peers})


@attack
def dripping_messages(attacker: Attacker) -> None:
    """The same, in no hurry: a byte at a time."""
    attacker.connect(8)
    begun = part(MAGIC, MORE) + announced(LARGEST)
    for peer in attacker.peers:
        peer.send(begun)
    while attacker.goes_on:
        for peer in list(attacker.peers):
            try:
                peer.socket.send(b"\0")
            except OSError:
                attacker.drop(peer)
        time.sleep(0.05)


@attack
def tiny_documents(attacker: Attacker) -> None:
    """As many documents as the largest message can hold."""
    count = LARGEST // 2 - 100
    large(attacker, map_of(4, RERANK + packed("documents") + array_of(count, b"\xc4\x00")))


@attack
def repeated_documents(attacker: Attacker) -> None:
    """The key of the documents, again and again."""
    documents = packed("documents") + array_of(9_999, b"\xc4\x00")
    count = LARGEST // len(documents) - 1
    large(attacker, map_of(3 + count, RERANK + documents * count))


@attack
def unknown_arrays(attacker: Attacker) -> None:
    """An array of empty arrays under a key that nobody knows."""
    large(attacker, map_of(4, RERANK + packed("x") + array_of(LARGEST - 200, b"\x90")))


@attack
def unknown_keys(attacker: Attacker) -> None:
    """Millions of keys that nobody knows."""
    count = LARGEST // 2 - 100
    large(attacker, map_of(3 + count, RERANK + b"\xa0\xc0" * count))


@attack
def giant_messages(attacker: Attacker) -> None:
    """Messages that are announced as larger than any may be."""
    while attacker.goes_on:
        attacker.connect(8)
        begun = part(MAGIC, MORE) + announced(1 << 40) + bytes(1 << 20)
        attacker.pour({peer: iter([begun]) for peer in attacker.peers})
        for peer in list(attacker.peers):
            attacker.drop(peer)


@attack
def many_connections(attacker: Attacker) -> None:
    """As many connections as can be had, each with as much unfinished as needs no room."""
    count = 3000 if attacker.full else 1200
    begun = part(MAGIC, MORE) + announced(CHUNK_BYTES) + bytes(CHUNK_BYTES - 1)
    while attacker.goes_on:
        attacker.connect(min(count, len(attacker.peers) + 50))
        attacker.pour({peer: iter([begun]) for peer in attacker.peers[-50:]})


@attack
def everything(attacker: Attacker) -> None:
    """All that can be held, held at once."""
    count = 1000 if attacker.full else 200
    attacker.connect(count)
    large = part(MAGIC, MORE) + announced(LARGEST) + bytes(LARGEST - 1)
    unfinished = part(MAGIC, MORE) + announced(CHUNK_BYTES) + bytes(CHUNK_BYTES - 1)
    questions = b"".join(message(encode(GetStatus(b"%d" % number))[1]) for number in range(300))
    while attacker.goes_on:
        attacker.connect(count)
        streams = {peer: iter([questions, unfinished]) for peer in attacker.peers[3:]}
        attacker.pour(streams | {peer: iter([large]) for peer in attacker.peers[:3]})


@attack
def silent_connections(attacker: Attacker) -> None:
    """Connections that never greet."""
    attacker.connect(3000 if attacker.full else 300, greet=False)
    attacker.hold()


@attack
def deaf(attacker: Attacker) -> None:
    """Questions without end, whose answers are never read."""
    questions = b"".join(message(encode(GetStatus(b"%d" % number))[1]) for number in range(500))
    while attacker.goes_on:
        attacker.connect(16 if attacker.full else 4)
        attacker.pour({peer: iter([questions]) for peer in attacker.peers})


@attack
def flood(attacker: Attacker) -> None:
    """Small requests without end on many connections, refused as fast as can be, their answers read."""
    refused = message(encode(Rerank(b"x", b"", [b"no query"]))[1]) * 200
    large_flood(attacker, refused)


@attack
def pings(attacker: Attacker) -> None:
    """ZeroMQ's own heartbeats without end, their answers never read."""
    pings = part(b"\x04PING\x00\x00" + b"context", COMMAND) * 2000
    while attacker.goes_on:
        attacker.connect(4)
        attacker.pour({peer: iter([pings]) for peer in attacker.peers})


@attack
def names(attacker: Attacker) -> None:
    """A long name of its own on every connection, and many on each."""
    attacker.connect(20)
    hellos = [
        b"".join(message(encode(Hello(f"{peer:04}-{n:04}".ljust(64, "x"), n))[1]) for n in range(100))
        for peer in range(20)
    ]
    attacker.pour(dict(zip(attacker.peers, (iter([hello]) for hello in hellos), strict=False)))
    attacker.hold()


@attack
def garbage(attacker: Attacker) -> None:
    """Random bytes, before and after a greeting."""
    for greet in itertools.cycle((True, False)):
        if not attacker.goes_on:
            break
        attacker.connect(8, greet=greet)
        attacker.pour({peer: iter([os.urandom(10_000)]) for peer in attacker.peers})
        for peer in list(attacker.peers):
            attacker.drop(peer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("attack", choices=ATTACKS)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    attacker = Attacker(arguments.socket, arguments.seconds, full=arguments.full)
    ATTACKS[arguments.attack](attacker)
    print(f"disconnected {attacker.disconnected} times, {len(attacker.peers)} connections left", flush=True)


if __name__ == "__main__":
    main()
