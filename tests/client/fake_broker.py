"""A ROUTER in the broker's place, which answers what a test says."""

from pathlib import Path
from types import TracebackType

import zmq
from openvino_reranker.protocol.client_messages import ClientMessage
from openvino_reranker.protocol.codec import decode_from_client, encode
from openvino_reranker.protocol.message import Message


class FakeBroker:
    """Listens at ``path``; of one client at a time."""

    def __init__(self, path: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.bind(f"ipc://{path}")
        self._client = b""

    def receive(self, timeout_ms: int = 10_000) -> ClientMessage:
        """Return the next message."""
        assert self._router.poll(timeout_ms), "no message"
        self._client, *frames = self._router.recv_multipart()
        return decode_from_client(frames)

    def answer(self, message: Message, magic: bytes | None = None) -> None:
        """Send the client a message, under another first frame if given."""
        usual, payload = encode(message)
        self._router.send_multipart([self._client, magic or usual, payload])

    def __enter__(self) -> "FakeBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._router.close(0)
        self._context.term()
