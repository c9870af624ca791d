"""A batch the worker pulled: its pairs encoded, cut into runs, and put together again."""

from dataclasses import replace

from ..protocol.worker_messages import Batch, BatchFailed, BatchResult, PairError, PairWindows
from .device import Device, Finished
from .tokenization import PairTokenizer, QueryTooLong, Row

_EMPTY_ROW = Row([], [], False)


class Job:
    """One batch on its way through the device.

    Attributes:
        rows: A row per pair; an empty one where the pair has an error.
        to_start: Runs not started, in the order to start them.
    """

    def __init__(self, batch: Batch, tokenizer: PairTokenizer, device: Device) -> None:
        self.number = batch.batch
        self.rows: list[Row] = [_EMPTY_ROW] * len(batch.pairs)
        self._errors: list[PairError] = []
        self._logits = [0.0] * len(batch.pairs)
        self._encode(batch, tokenizer)
        good = [place for place, row in enumerate(self.rows) if len(row)]
        self.to_start = [
            replace(run, rows=tuple(good[row] for row in run.rows))
            for run in device.pack([len(self.rows[place]) for place in good])
        ]
        self.padded_tokens = sum(run.padded_tokens for run in self.to_start)
        self._runs = self._left = len(self.to_start)
        self._inference_s = 0.0
        self._failure: str | None = None

    def _encode(self, batch: Batch, tokenizer: PairTokenizer) -> None:
        by_query: dict[int, list[int]] = {}
        for place, (query, _) in enumerate(batch.pairs):
            by_query.setdefault(query, []).append(place)
        for query, places in by_query.items():
            try:
                rows = tokenizer.encode(
                    batch.queries[query].decode(),
                    [batch.pairs[place][1].decode() for place in places],
                    [batch.plans[place] for place in places] if batch.plans else (),
                )
            except QueryTooLong as error:
                self._errors += [PairError(place, "invalid_request", str(error)) for place in places]
                continue
            for place, row in zip(places, rows, strict=True):
                self.rows[place] = row

    @property
    def done(self) -> bool:
        """Whether every run has finished."""
        return not self._left

    @property
    def failed(self) -> bool:
        """Whether the device failed on any run."""
        return self._failure is not None

    @property
    def worked(self) -> bool:
        """Whether the device had to do anything for it."""
        return self._runs > 0

    def finish(self, finished: Finished, seconds: float) -> None:
        """Note a finished run of this job, which had the device for ``seconds``."""
        self._left -= 1
        self._inference_s += seconds
        if isinstance(finished.logits, ArithmeticError) and len(finished.run.rows) == 1:
            self._errors.append(PairError(finished.run.rows[0], "failed", str(finished.logits)))
            return
        if isinstance(finished.logits, Exception):
            self._failure = str(finished.logits)
            return
        for place, logit in zip(finished.run.rows, finished.logits, strict=True):
            self._logits[place] = logit

    def answer(self, npu_busy_delta_us: int | None, npu_busy_total_us: int = 0) -> BatchResult | BatchFailed:
        """Return what the broker gets."""
        if self._failure is not None:
            return BatchFailed(self.number, self._failure)
        return BatchResult(
            batch=self.number,
            logits=self._logits,
            tokens=[len(row) for row in self.rows],
            truncated=[place for place, row in enumerate(self.rows) if row.truncated],
            errors=self._errors,
            padded_tokens=self.padded_tokens,
            runs=self._runs,
            inference_ms=round(self._inference_s * 1000, 3),
            npu_busy_delta_us=npu_busy_delta_us,
            npu_busy_total_us=npu_busy_total_us,
            windows=[PairWindows(place, list(row.windows)) for place, row in enumerate(self.rows) if row.windows],
        )
