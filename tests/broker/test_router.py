"""The router with peers of libzmq and peers that speak by hand, over real sockets."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from openvino_reranker.broker import router as module
from openvino_reranker.broker.connection import CHUNK_BYTES
from openvino_reranker.broker.router import Router
from openvino_reranker.broker.zmtp import OPENING, Decoder, Parts
from openvino_reranker.daemon.unix_socket import listen
from openvino_reranker.protocol.client_messages import Hello, Refusal, Welcome
from openvino_reranker.protocol.codec import MAGIC, decode_from_broker, encode
from openvino_reranker.protocol.errors import InvalidRequest
from openvino_reranker.protocol.limits import DEFAULT_LIMITS, MAX_MESSAGE_BYTES
from openvino_reranker.tests.attacks.attacker import (
    COMMAND,
    GREETING,
    LARGEST,
    MORE,
    READY,
    Peer,
    announced,
    message,
    part,
)

WELCOME = Welcome("epoch", "1", DEFAULT_LIMITS)


class Bench:
    """A router, read until something holds."""

    def __init__(self, path: Path, **options: int | tuple[int, ...]) -> None:
        self.path = path
        self.router = Router(
            listen(path, 0o600, "taken"),
            path,
            farewell=lambda reason: Refusal(b"", InvalidRequest.code, reason),
            **({"max_unsent_bytes": 1 << 20} | options),  # type: ignore[arg-type]
        )
        self.messages: list[tuple[bytes, list[bytes]]] = []
        self.gone: list[bytes] = []
        self._peers: list[Peer] = []

    def peer(self) -> Peer:
        """A peer that speaks by hand."""
        self._peers.append(Peer(self.path))
        return self._peers[-1]

    def close(self) -> None:
        for peer in self._peers:
            peer.socket.close()
        self.router.close()

    def run(self, until: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, (self.messages, self.gone)
            self.turn()

    def turn(self) -> None:
        for connection, parts in self.router.read(time.monotonic() + 0.02):
            self.messages.append((connection.identity, [bytes(each) for each in parts]))
        self.gone += self.router.closed()
        time.sleep(0.001)

    def settle(self, seconds: float = 0.2) -> None:
        """Let everything happen that will."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()


@pytest.fixture
def bench(runtime: Path) -> Iterator[Bench]:
    made = Bench(runtime / "r.sock")
    yield made
    made.close()


class Dealers:
    """Peers of libzmq's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._made: list[zmq.Socket[bytes]] = []

    def __call__(self, **options: int) -> "zmq.Socket[bytes]":
        made = self._context.socket(zmq.DEALER)
        for name, value in ({"LINGER": 0, "RCVTIMEO": 5000} | options).items():
            made.setsockopt(getattr(zmq, name), value)
        made.connect(f"ipc://{self._path}")
        self._made.append(made)
        return made

    def close(self) -> None:
        for made in self._made:
            made.close()
        self._context.term()


@pytest.fixture
def dealer(runtime: Path) -> Iterator[Dealers]:
    made = Dealers(runtime / "r.sock")
    yield made
    made.close()


def answer(peer: Peer) -> str:
    """What a peer that speaks by hand was told at last."""
    peer.socket.settimeout(5)
    decoder = Decoder(1 << 20)
    with contextlib.suppress(ConnectionResetError):  # what it had sent was not read
        while chunk := peer.socket.recv(1 << 16):
            decoder.feed(chunk)
    told = decoder.next_event()
    assert isinstance(told, Parts)
    message = decode_from_broker(told.parts)
    assert isinstance(message, Refusal)
    return message.message


def test_a_dealer_is_heard_and_answered(bench: Bench, dealer: Dealers) -> None:
    peer = dealer()
    for size in (0, 255, 256, 70_000, 1 << 20, MAX_MESSAGE_BYTES):
        bench.messages.clear()
        peer.send_multipart([MAGIC, bytes(size)])
        bench.run(lambda: bench.messages)
        ((identity, parts),) = bench.messages
        assert parts == [MAGIC, bytes(size)]
        assert bench.router.send(identity, WELCOME)
        assert decode_from_broker(peer.recv_multipart()) == WELCOME
    peer.close()
    bench.run(lambda: bench.gone == [identity])
    assert not bench.router.send(identity, WELCOME)


def test_who_speaks_is_known_from_the_kernel(bench: Bench) -> None:
    script = "import sys; from openvino_reranker.tests.attacks.attacker import *; p = Peer(Path(sys.argv[1])); "
    script += "p.send(message(b'x')); p.socket.recv(1000); input()"
    process = subprocess.Popen([sys.executable, "-c", script, str(bench.path)], stdin=subprocess.PIPE)
    while not (heard := list(bench.router.read(time.monotonic() + 1))):
        time.sleep(0.01)
    ((connection, _),) = heard
    assert (connection.pid, connection.uid) == (process.pid, os.getuid())
    assert connection.process == f"{os.getuid()}:{process.pid}"
    process.communicate(b"\n")


def test_heartbeats_of_zeromq_are_answered(bench: Bench, dealer: Dealers) -> None:
    peer = dealer(HEARTBEAT_IVL=50, HEARTBEAT_TIMEOUT=200)
    monitor = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    peer.send_multipart([MAGIC, b"x"])
    bench.settle(1.0)
    assert monitor.poll(0) == 0, "it was thought dead"
    peer.disable_monitor()
    monitor.close(0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (part(MAGIC, MORE) + part(b"a", MORE) + part(b"b"), "more than 2 parts"),
        (part(MAGIC, MORE) + announced(MAX_MESSAGE_BYTES + 1), f"the limit is {MAX_MESSAGE_BYTES}"),
        (part(bytes(300)), "first part of 300 bytes"),
    ],
)
def test_who_breaks_the_protocol_is_told_and_disconnected(
    bench: Bench, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        peer, other = bench.peer(), bench.peer()
        peer.send(data)
        bench.run(lambda: bench.gone)
        assert reason in answer(peer)
    assert f"disconnected pid {os.getpid()} of uid {os.getuid()} from r.sock: " in caplog.text
    assert reason in caplog.text
    other.send(message(b"still here"))
    bench.run(lambda: bench.messages)
    assert bench.messages[0][1] == [MAGIC, b"still here"]


def test_a_flood_of_offenders_writes_few_lines(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            bench.peer().send(part(bytes(300)))
            bench.turn()
        bench.run(lambda: len(bench.gone) == 50)
    assert 1 <= len(caplog.records) <= 5


def test_others_than_the_chosen_users_are_disconnected(runtime: Path) -> None:
    bench = Bench(runtime / "r.sock", uids=(os.getuid() + 1,))
    peer = bench.peer()
    bench.run(lambda: bench.gone)
    assert "user" in answer(peer)
    bench.close()


def test_a_peer_that_does_not_read_is_disconnected(bench: Bench) -> None:
    peer = bench.peer()
    peer.send(message(b"x"))
    bench.run(lambda: bench.messages)
    identity = bench.messages[0][0]
    sent = 0
    while bench.router.send(identity, Refusal(b"", "failed", "x" * 10_000)):
        sent += 10_000
        assert sent < 4 << 20
    assert sent > 1 << 20
    assert not bench.router.send(identity, WELCOME)
    bench.run(lambda: bench.gone == [identity])


def test_all_that_is_unread_together_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSENT_BYTES", 1 << 20)
    peers = [bench.peer() for _ in range(30)]
    for peer in peers:
        peer.send(message(b"x"))
    bench.run(lambda: len(bench.messages) == 30)
    dropped = 0
    for identity, _ in bench.messages:
        for _ in range(60):
            if not bench.router.send(identity, Refusal(b"", "failed", "x" * 10_000)):
                dropped += 1
                break
    assert dropped >= 20
    assert bench.router._connections.unsent_bytes < (1 << 20) + 30 * CHUNK_BYTES + 10_000


def test_answers_go_on_when_a_peer_reads_again(bench: Bench, dealer: Dealers) -> None:
    peer = dealer(RCVHWM=1)
    peer.send_multipart([MAGIC, b"x"])
    bench.run(lambda: bench.messages)
    answers = [Refusal(b"%d" % number, "failed", "x" * 10_000) for number in range(80)]
    for each in answers:
        assert bench.router.send(bench.messages[0][0], each)
    read: list[object] = []
    while len(read) < len(answers):
        bench.turn()
        while peer.poll(0):
            read.append(decode_from_broker(peer.recv_multipart()))
    assert read == answers


def test_one_process_sends_one_large_message_at_a_time(bench: Bench) -> None:
    first, second, small = (bench.peer() for _ in range(3))
    begun = part(MAGIC, MORE) + announced(LARGEST)
    first.send(begun)
    bench.settle(0.05)
    second.send(begun + bytes(100_000))
    small.send(message(b"small"))
    bench.settle()
    assert [parts for _, parts in bench.messages] == [[MAGIC, b"small"]]
    kept = {each.identity: len(each._decoder) for each in bench.router._connections}
    assert sum(kept.values()) <= CHUNK_BYTES, "the second message is not read while the first is on its way"
    first.socket.setblocking(False)
    left = memoryview(bytes(LARGEST))
    while left:
        try:
            left = left[first.socket.send(left) :]
        except BlockingIOError:
            bench.turn()
    bench.run(lambda: len(bench.messages) == 2)
    bench.run(lambda: sum(len(each._decoder) for each in bench.router._connections) == 100_000)


def test_a_large_message_that_stands_still_makes_place_for_others(bench: Bench) -> None:
    stuck, waiting = bench.peer(), bench.peer()
    stuck.send(part(MAGIC, MORE) + announced(LARGEST))
    bench.settle(0.05)
    waiting.send(part(MAGIC, MORE) + announced(150_000) + bytes(150_000))
    bench.settle(0.1)
    due = bench.router.next_wakeup()
    assert due is not None
    bench.router.tick(due - 0.1)
    assert bench.gone == []
    bench.router.tick(due)
    bench.run(lambda: bench.messages)
    assert bench.messages[0][1] == [MAGIC, bytes(150_000)]
    assert len(bench.gone) == 1
    assert "did not arrive in time" in answer(stuck)


def test_who_has_most_connections_loses_one_for_a_newcomer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 5)
    script = "import sys; from openvino_reranker.tests.attacks.attacker import *; p = Peer(Path(sys.argv[1])); input()"
    lone = subprocess.Popen([sys.executable, "-c", script, str(bench.path)], stdin=subprocess.PIPE)
    bench.run(lambda: bench.router._connections)
    peers = [bench.peer() for _ in range(8)]
    bench.run(lambda: len(bench.gone) == 4)
    bench.settle(0.1)
    assert len(bench.router._connections) == 5
    assert [each.pid for each in bench.router._connections] == [lone.pid, *[os.getpid()] * 4]
    assert not peers[-1].socket.recv(1 << 16).removeprefix(OPENING)  # no reason: it could not take one yet
    lone.communicate(b"\n")


def test_a_dealer_that_was_dropped_before_it_was_ready_connects_again(
    bench: Bench, dealer: Dealers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    peers = [bench.peer() for _ in range(2)]
    bench.run(lambda: len(bench.router._connections) == 2)
    late = dealer(RECONNECT_IVL=20)
    bench.run(lambda: len(bench.gone) == 3)  # of the process that has the most, the newest: the dealer, each time
    for peer in peers:
        peer.socket.close()
    bench.run(lambda: len(bench.gone) >= 5 and len(bench.router._connections) == 1)
    late.send_multipart([MAGIC, b"x"])
    bench.run(lambda: [parts for _, parts in bench.messages] == [[MAGIC, b"x"]])


def test_a_paused_router_reads_and_accepts_nothing_and_answers_still(bench: Bench) -> None:
    peer = bench.peer()
    peer.send(message(b"x"))
    bench.run(lambda: bench.messages)
    identity = bench.messages[0][0]
    bench.router.pause()
    peer.send(message(b"y"))
    newcomer = bench.peer()
    bench.settle()
    assert len(bench.messages) == 1
    assert len(bench.router._connections) == 1
    assert bench.router.send(identity, WELCOME)
    peer.socket.settimeout(5)
    while b"welcome" not in peer.socket.recv(1 << 16):
        pass
    peer.socket.close()
    bench.run(lambda: bench.gone == [identity])
    newcomer.socket.close()


def test_closing_sends_what_is_left(runtime: Path, dealer: Dealers) -> None:
    bench = Bench(runtime / "r.sock")
    peer = dealer()
    peer.send_multipart(encode(Hello()))
    bench.run(lambda: bench.messages)
    answers = [Refusal(b"%d" % number, "failed", "x" * 10_000) for number in range(60)]
    for each in answers:
        assert bench.router.send(bench.messages[0][0], each)
    bench.router.close()
    assert [decode_from_broker(peer.recv_multipart()) for _ in answers] == answers


def test_what_a_peer_said_before_it_closed_is_read(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(bench.path))
        raw.sendall(GREETING + part(READY, COMMAND) + message(b"x") * 100)
    bench.run(lambda: bench.gone)
    assert len(bench.messages) == 100
