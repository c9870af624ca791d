"""Gets an NPU's buckets ready, longest first: from the cache or the compiler, then through the proof."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ..errors import CompileFailed, DeviceLost, WorkerError, WrongLogits
from ..tokenization import PairTokenizer, Row
from .blob_cache import GIVE_UP_AFTER, BlobCache
from .bucket_plan import LEAST_LONGEST
from .busy_counter import BusyCounter
from .compiled_bucket import CompiledBucket
from .compiler import CompilerDied, run_child
from .compiler_process import make_static
from .device import NpuDevice
from .error_messages import find_known, innermost, translate
from .platform import Platform, read_property
from .reference_logits import Reference, make_rows
from .self_test import Proof, prove

logger = logging.getLogger("openvino_reranker.worker")

Say = Callable[[str], None]


#: Rows in flight at least: enough to hide the host's part behind the device's.
_LEAST_REQUESTS = 2


class _GivenUp(Exception):
    """There will be no such bucket; says why."""


class BucketLoader:
    """Fills a device with its buckets.

    Args:
        device: What takes them.
        model: The ``model.xml``.
        precision: Of its weights.
        tokenizer: Its tokenizer.
        core: OpenVINO's core.
        platform: The machine.
        options: What the plugin is told.
        cache: Compiled buckets of before.
        reference: The model's f32 logits.
        counter: The NPU's busy time.
        compile_limit_s: How long one bucket may compile, s.
        retry: Whether to compile what ended badly before.
    """

    def __init__(
        self,
        device: NpuDevice,
        model: Path,
        precision: str,
        tokenizer: PairTokenizer,
        core: Any,
        platform: Platform,
        options: dict[str, str],
        cache: BlobCache,
        reference: Reference,
        counter: BusyCounter,
        compile_limit_s: float,
        *,
        retry: bool = False,
    ) -> None:
        self._device = device
        self._model = model
        self._precision = precision
        self._tokenizer = tokenizer
        self._core = core
        self._platform = platform
        self._options = options
        self._cache = cache
        self._reference = reference
        self._counter = counter
        self._compile_limit_s = compile_limit_s
        self._retry = retry
        self._pending = list(device.wanted)  # the longest last

    def load_next(self, say: Say) -> None:
        """Get the longest of the missing buckets ready; one that cannot be had is given up and the next one tried.

        Raises:
            CompileFailed: No bucket can be compiled that is long enough to be the longest.
            WorkerError: The NPU failed, or a proof did.
        """
        least = min(LEAST_LONGEST, self._device.wanted[-1])
        reasons: list[str] = []
        while self._pending and (self._device.buckets or self._pending[-1] >= least):
            tokens = self._pending.pop()
            say(f"{self._device.progress()} ({tokens} tokens)")
            try:
                bucket, proof = self._load(tokens)
            except _GivenUp as given_up:
                reasons.append(str(given_up))
                self._give_up(tokens, reasons[-1])
                continue
            self._device.admit(bucket, proof)
            return
        if not self._device.buckets:
            raise CompileFailed(f"no bucket of {least} tokens or more can be compiled; of the longest: {reasons[0]}")

    def load_rest(self) -> None:
        """Get all other buckets ready; a failure is told to the device."""
        try:
            while self._pending:
                self.load_next(logger.info)
            logger.info("all buckets are ready")
        except WorkerError as error:
            self._device.fail(error)
        except Exception as error:
            logger.exception("the thread that compiles broke")
            self._device.fail(WorkerError(f"getting the NPU's buckets ready broke: {error}"))

    def load_rest_in_background(self) -> None:
        """Do ``load_rest`` in a thread that ends with the process."""
        threading.Thread(target=self.load_rest, name="openvino-reranker-compile", daemon=True).start()

    def _give_up(self, tokens: int, why: str) -> None:
        then = (
            "its rows run in the next larger one" if self._device.buckets else "texts are cut to the next shorter one"
        )
        logger.warning("no bucket of %d tokens: %s; %s", tokens, why, then)
        self._device.give_up(tokens, why)

    def _load(self, tokens: int) -> tuple[CompiledBucket, Proof]:
        """Return a bucket that has passed its test."""
        began = time.monotonic()
        if (blob := self._cache.read(tokens)) is not None:
            try:
                proven = self._prove(tokens, self._import(blob))
            except (RuntimeError, WrongLogits) as error:
                known = find_known(str(error))
                if known is not None and issubclass(known.error, DeviceLost):
                    raise translate(str(error), f"loading {tokens} tokens", DeviceLost) from error
                # Our checksum holds, but not everything that matters may be in our key.
                logger.warning("threw away the compiled bucket of %d tokens: %s", tokens, innermost(str(error)))
                self._cache.discard(tokens)
            else:
                self._log(proven[1], "from the cache", began)
                return proven
        compiled = self._compile(tokens)
        try:
            proven = self._prove(tokens, compiled)
        except RuntimeError as error:
            raise translate(str(error), f"getting {tokens} tokens ready", DeviceLost) from error
        self._cache.clear_mark(tokens)
        self._log(proven[1], "compiled", began)
        return proven

    def _log(self, proof: Proof, how: str, began: float) -> None:
        logger.info(
            "bucket of %d tokens %s and proven in %.1f s: busy time rose by %d us, worst logit %.4f off",
            proof.tokens,
            how,
            time.monotonic() - began,
            proof.rise_us,
            proof.worst,
        )

    def _prove(self, tokens: int, compiled: Any) -> tuple[CompiledBucket, Proof]:
        self._platform.check_compiled(compiled)
        if not self._device.requests:
            self._device.requests = _optimal_requests(compiled)
        bucket = CompiledBucket(tokens, compiled, self._device.requests)
        return bucket, prove(bucket, *self._expected(tokens), self._precision, self._counter)

    def _expected(self, tokens: int) -> tuple[list[Row], list[float]]:
        """Return a bucket's fixed rows and their logits; those of all buckets are computed together."""
        rows = {each: make_rows(self._tokenizer, each) for each in self._device.wanted}
        self._reference.of([row for each in rows.values() for row in each])
        return rows[tokens], self._reference.of(rows[tokens])

    def _import(self, blob: bytes) -> Any:
        tensor = ov.Tensor(np.frombuffer(blob, dtype=np.uint8))
        return self._core.import_model(tensor, "NPU", self._options)

    def _compile(self, tokens: int) -> Any:
        mark = self._cache.mark(tokens)
        if mark is not None and mark.times >= GIVE_UP_AFTER and not self._retry:
            raise _GivenUp(
                f"compiling it ended badly {mark.times} times ({mark.happened}) and is not tried again until model, "
                "driver or options change, or 'openvino-reranker doctor --npu' succeeds with it"
            )
        try:
            output = self._cache.room(tokens)
        except OSError as error:
            raise CompileFailed(f"the cache for compiled models cannot be written: {error}; see --cache") from error
        try:
            return self._compile_into(tokens, output)
        except CompilerDied as died:
            self._cache.put_mark(tokens, str(died))
            raise _GivenUp(str(died)) from None
        finally:
            with contextlib.suppress(OSError):
                output.unlink()

    def _compile_into(self, tokens: int, output: Path) -> Any:
        command = self._platform.compile_command()
        outcome = run_child(command, self._model, tokens, self._options, output, self._compile_limit_s)
        if outcome.error:
            error = translate(outcome.error, f"compiling {tokens} tokens", CompileFailed)
            known = find_known(outcome.error)
            if known is not None and not isinstance(error, CompileFailed):
                raise error  # it is not about this bucket
            self._cache.put_mark(tokens, str(error))
            raise _GivenUp(str(error))
        if not outcome.not_exported:
            try:
                compiled = self._import(output.read_bytes())
            except (RuntimeError, OSError) as error:
                reason = innermost(str(error))
            else:
                self._cache.put(tokens, output)
                return compiled
        else:
            reason = innermost(outcome.not_exported)
        logger.warning(
            "the NPU's plugin cannot export and import compiled models (%s): every start compiles anew", reason
        )
        # The child did it and lived, so this process can.
        model = self._core.read_model(self._model)
        make_static(model, tokens)
        try:
            return self._core.compile_model(model, "NPU", self._options)
        except RuntimeError as error:
            raise translate(str(error), f"compiling {tokens} tokens", CompileFailed) from error


def _optimal_requests(compiled: Any) -> int:
    """Return how many rows the plugin wants in flight: a fixed number for each architecture and hint."""
    number = read_property(compiled, "OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    return max(_LEAST_REQUESTS, int(number)) if number and number.isdecimal() else _LEAST_REQUESTS
