"""Who a client is, to the broker."""

from dataclasses import dataclass

from ..protocol.client_messages import Rerank


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's connection: its ROUTER identity, and who is behind it (``trusted``: the broker's own user)."""

    identity: bytes
    caller: str
    trusted: bool

    def charged(self, message: Rerank) -> tuple[str, str]:
        """Return who is charged for a request, and by which stream: our own user may speak for others."""
        if not self.trusted:
            return self.caller, ""
        return message.caller or self.caller, message.stream or ""
