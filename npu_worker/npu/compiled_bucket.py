"""One compiled shape on the device: its requests, filled in place."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...protocol.timeouts import DEFAULT_TIMEOUTS
from ..inputs import fill, known_ports
from ..logits import read_logits
from ..tokenization import Row
from .host_embeddings import EMBEDDINGS, EmbeddingTable


def _nobody_waits() -> None:
    """Do nothing: the callback of a request that is waited for by other means."""


class BucketRequest:
    """One inference request of a bucket, with the plugin's own input tensors.

    Args:
        bucket: Its tokens.
        request: OpenVINO's.
        table: The word embeddings, where the compiled model leaves their lookup to the host.
    """

    def __init__(self, bucket: int, request: Any, table: EmbeddingTable | None = None) -> None:
        self.bucket = bucket
        self._request = request
        ports = known_ports(request.model_inputs)
        self._arrays = {name: request.get_tensor(port).data for name, port in ports.items()}
        self._table = table
        if table is not None:
            [port] = [port for port in request.model_inputs if EMBEDDINGS in port.names]
            self._embeddings = request.get_tensor(port).data
        self._ended: Callable[[], None] = _nobody_waits
        # OpenVINO's request holds its callback for good: one that leads back to the request would keep the
        # compiled model past the end of OpenVINO itself.
        myself = weakref.ref(self)

        def ended(_: object) -> None:
            if (request := myself()) is not None:
                request.end()

        self._request.set_callback(ended, None)

    def end(self) -> None:
        """Tell who waits for this request that it has ended."""
        ended, self._ended = self._ended, _nobody_waits
        ended()

    def start(self, row: Row, ended: Callable[[], None]) -> None:
        """Run one row; ``ended`` is called in a thread of OpenVINO's.

        Raises:
            RuntimeError: The device does not take it.
        """
        self._fill(row)
        self._ended = ended
        self._request.start_async()

    def logit(self) -> float | Exception:
        """Return the logit of the row that has ended, or why there is none."""
        logits = read_logits(self._request)
        if isinstance(logits, Exception):
            return logits
        return float(logits[0])

    def infer(self, row: Row) -> float:
        """Run one row and wait for it.

        Raises:
            RuntimeError: The device failed, or has not answered in time.
            ArithmeticError: It returned NaN or infinity.
        """
        self._fill(row)
        self._request.start_async()
        if not self._request.wait_for(round(DEFAULT_TIMEOUTS.device_stuck * 1000)):
            raise RuntimeError(f"timed out after {DEFAULT_TIMEOUTS.device_stuck:g} s")
        logit = self.logit()
        if isinstance(logit, Exception):
            raise logit
        return logit

    def _fill(self, row: Row) -> None:
        fill(self._arrays, [row])
        if self._table is not None:
            width = len(row)
            self._embeddings[0, :width] = self._table.rows(row.ids)
            self._embeddings[0, width:] = self._table.rows([0])  # as of padding; the mask takes it out


class CompiledBucket:
    """A compiled model of one length, and its free requests.

    Args:
        tokens: Its length.
        compiled: OpenVINO's compiled model.
        requests: How many rows of it may be in flight.
        table: The word embeddings, where it leaves their lookup to the host.
    """

    def __init__(self, tokens: int, compiled: Any, requests: int, table: EmbeddingTable | None = None) -> None:
        self.tokens = tokens
        self._compiled = compiled  # must outlive its requests
        # All of them: one in flight is in no list of free ones, and what it calls at its end leads back to itself
        # alone, so that the garbage collector would take it away while it runs.
        self._requests = [BucketRequest(tokens, compiled.create_infer_request(), table) for _ in range(requests)]
        self.free = list(self._requests)

    def infer_on_each(self, rows: Sequence[Row]) -> list[float]:
        """Run each row, and at least one on each request; return the rows' logits, one after the other.

        Raises:
            RuntimeError: The device failed.
            ArithmeticError: It returned NaN or infinity, or one request another logit than the next.
        """
        logits: list[float] = []
        for turn in range(max(len(rows), len(self.free))):
            logit = self.free[turn % len(self.free)].infer(rows[turn % len(rows)])
            if turn < len(rows):
                logits.append(logit)
            elif abs(logit - logits[turn % len(rows)]) > 1e-2:
                raise ArithmeticError(
                    f"two inference requests returned {logits[turn % len(rows)]} and {logit} for the same pair"
                )
        return logits
