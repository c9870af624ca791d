"""The least that three Python processes take to pass a message on: latency that no service could avoid.

A client, a relay and an answerer, joined as the service's are: ZeroMQ DEALERs and ROUTERs over Unix sockets. The
message is empty, and nothing is done with it. Each is sent after a rest, as a lone request comes to an idle service:
processes that have just been awake pass it on in less than half the time.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import zmq

#: Before each lone request or message, s: until the threads of the last inference have stopped spinning.
REST_S = 0.05
#: Longer, and a process of the chain died, ms.
_LIMIT_MS = 5000


def measure_floor(count: int) -> list[float]:
    """Return what ``count`` messages took from client to answerer and back, each after a rest, ms.

    Raises:
        TimeoutError: One did not come back.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="orr-floor-", dir="/tmp") as folder, zmq.Context() as context:
        front, back = (f"ipc://{Path(folder) / name}" for name in ("front", "back"))
        processes = [
            spawn.Process(target=_relay, args=(front, back), daemon=True),
            spawn.Process(target=_answer, args=(back,), daemon=True),
        ]
        for process in processes:
            process.start()
        try:
            with context.socket(zmq.DEALER) as client:
                client.setsockopt(zmq.LINGER, 0)
                client.connect(front)
                _ask(client)  # opens the connections
                return [_ask(client, REST_S) for _ in range(count)]
        finally:
            for process in processes:
                process.terminate()
                process.join()


def _ask(client: "zmq.Socket[bytes]", rest_s: float = 0.0) -> float:
    time.sleep(rest_s)
    started = time.perf_counter()
    client.send(b"")
    if not client.poll(_LIMIT_MS):
        raise TimeoutError("the processes that measure the floor do not answer")
    client.recv()
    return (time.perf_counter() - started) * 1000


def _relay(front: str, back: str) -> None:
    """Pass each client's message to the answerer, and its answer back."""
    context = zmq.Context()
    clients, workers = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.bind(front)
    workers.bind(back)
    poller = zmq.Poller()
    poller.register(clients, zmq.POLLIN)
    poller.register(workers, zmq.POLLIN)
    while True:
        for ready, _ in poller.poll():
            other = workers if ready is clients else clients
            other.send_multipart(ready.recv_multipart())


def _answer(back: str) -> None:
    """Send each message back."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(back)
    while True:
        socket.send_multipart(socket.recv_multipart())
