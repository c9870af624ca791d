"""What the core decides: its only output."""

from dataclasses import dataclass
from typing import Literal

from ..protocol.client_messages import BrokerMessage
from ..protocol.worker_messages import BrokerToWorker


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send a message to a client's connection."""

    peer: bytes
    message: BrokerMessage


@dataclass(frozen=True, slots=True)
class ToWorker:
    """Send a message to a worker's connection."""

    worker: bytes
    message: BrokerToWorker


Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Note:
    """Write one line to the log. Never holds a document's text."""

    level: Level
    text: str


Action = ToClient | ToWorker | Note
