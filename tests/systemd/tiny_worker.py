"""A worker in a thread of the test: scores a document by its length, with no model."""

import threading
import time
from pathlib import Path

import zmq
from openvino_reranker.protocol.codec import decode_for_worker, encode
from openvino_reranker.protocol.message import Message
from openvino_reranker.protocol.worker_messages import (
    Batch,
    BatchResult,
    BrokerToWorker,
    Progress,
    Pull,
    WhoAreYou,
    WorkerBye,
    WorkerHello,
    WorkerWelcome,
)


class TinyWorker:
    """Serves until stopped; ``seconds_per_batch`` and ``seconds_per_token`` are how long its device takes."""

    def __init__(self, workers_socket: Path, seconds_per_batch: float = 0.0, seconds_per_token: float = 0.0) -> None:
        self.batches = 0
        self._address = f"ipc://{workers_socket}"
        self._seconds = seconds_per_batch
        self._seconds_per_token = seconds_per_token
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.connect(self._address)
        try:
            self._say_hello()
            while not self._stopping.is_set():
                if self._socket.poll(100):
                    self._take(decode_for_worker(self._socket.recv_multipart()))
                else:
                    self._send(Progress())
            self._send(WorkerBye())
        finally:
            self._socket.close()
            context.term()

    def _take(self, message: BrokerToWorker) -> None:
        match message:
            case WorkerWelcome():
                self._send(Pull())
            case WhoAreYou():
                self._say_hello()
            case Batch(batch=number, pairs=pairs):
                lengths = [len(document) for _, document in pairs]
                tokens = [3 + length // 4 for length in lengths]
                seconds = self._seconds + self._seconds_per_token * sum(tokens)
                self._compute(seconds)
                self.batches += 1
                self._send(
                    BatchResult(
                        batch=number,
                        logits=[float(length) for length in lengths],
                        tokens=tokens,
                        truncated=[],
                        errors=[],
                        padded_tokens=sum(tokens),
                        runs=1,
                        inference_ms=seconds * 1000,
                    )
                )
                self._send(Pull())

    def _compute(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping.is_set():
            self._send(Progress(1.0))
            time.sleep(0.02)

    def _say_hello(self) -> None:
        self._send(WorkerHello(pid=1, model="tiny", device="CPU", precision="f32", max_length=512, budget_tokens=4096))

    def _send(self, message: Message) -> None:
        self._socket.send_multipart(encode(message), zmq.NOBLOCK)
