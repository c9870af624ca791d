"""Makes one bucket ready: from the cache or the compiler, and through its self-test.

A compiled model is put into the cache once it has passed, and taken out of it as soon as it cannot be loaded or fails:
one that hangs the device would otherwise be met again at every start.
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CompileFailed, DeviceLost, NotAnNpu, WorkerError, WrongLogits
from ..tokenization import PairTokenizer, Row
from .blob_cache import GIVE_UP_AFTER, BlobCache
from .busy_counter import BusyCounter
from .compiled_bucket import CompiledBucket
from .compiler import CompilerDied, run_child
from .error_messages import Doing, find_known, innermost, translate
from .host_embeddings import cut_embeddings, make_static
from .platform import Platform
from .reference_logits import Reference, make_rows
from .self_test import SelfTest, self_test

logger = logging.getLogger("openvino_reranker.worker")


class Unobtainable(Exception):
    """The bucket cannot be made; the message says why."""


class BucketBuilder:
    """Makes a model's buckets.

    Args:
        model: The ``model.xml``.
        precision: Of its weights.
        tokenizer: Its tokenizer.
        lengths: Tokens of all the buckets wanted; their reference logits are computed together.
        requests: Rows in flight.
        core: OpenVINO's core.
        platform: The machine.
        options: The plugin's options.
        cache: Buckets compiled earlier.
        reference: The model's f32 logits.
        counter: The NPU's busy time.
        compile_limit_s: How long one bucket may compile, s.
        retry: Whether to compile buckets that failed fatally before.
    """

    def __init__(
        self,
        model: Path,
        precision: str,
        tokenizer: PairTokenizer,
        lengths: Sequence[int],
        requests: int,
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
        self._model = model
        self._precision = precision
        self._tokenizer = tokenizer
        self._lengths = lengths
        self._requests = requests
        self._core = core
        self._table = cut_embeddings(core.read_model(model))
        self._platform = platform
        self._options = options
        self._cache = cache
        self._reference = reference
        self._counter = counter
        self._compile_limit_s = compile_limit_s
        self._retry = retry

    @property
    def table_bytes(self) -> int:
        """Size of the word embeddings that stay on the host, so that no compiled model holds them."""
        return 0 if self._table is None else int(self._table.values.nbytes)

    def build(self, tokens: int) -> tuple[CompiledBucket, SelfTest]:
        """Return a bucket that has passed its self-test.

        Raises:
            Unobtainable: It does not compile, now or at the last starts.
            WorkerError: The NPU failed, its packages do not fit each other, or the self-test failed.
        """
        began = time.monotonic()
        if (blob := self._cache.read(tokens)) is not None and (tested := self._from_cache(tokens, blob)) is not None:
            how = "from the cache"
        else:
            tested = self._from_compiler(tokens)
            how = "compiled"
        self._cache.clear_marks(tokens)
        result = tested[1]
        logger.info(
            "bucket of %d tokens %s, self-test passed, in %.1f s: busy time rose by %d us, worst logit %.4f off",
            tokens,
            how,
            time.monotonic() - began,
            result.rise_us,
            result.worst,
        )
        return tested

    def _from_cache(self, tokens: int, blob: bytes) -> tuple[CompiledBucket, SelfTest] | None:
        """Return the bucket of a cached compiled model, or None if it was bad and discarded."""
        what = f"loading {tokens} tokens"
        try:
            return self._test(tokens, self._import(blob))
        except (WrongLogits, NotAnNpu) as error:
            reason = str(error)  # our checksum holds, but not everything that matters may be in our key
        except DeviceLost:
            self._cache.discard(tokens)
            raise
        except RuntimeError as error:
            known = find_known(str(error), Doing.LOADING)
            if known is not None and not known.marks:  # memory: not the compiled model's fault
                raise Unobtainable(str(translate(str(error), Doing.LOADING, what, CompileFailed))) from error
            if known is not None and issubclass(known.error, DeviceLost):
                self._cache.discard(tokens)
                raise translate(str(error), Doing.LOADING, what, DeviceLost) from error
            reason = innermost(str(error))
        logger.warning("discarded the compiled bucket of %d tokens: %s", tokens, reason)
        self._cache.discard(tokens)
        return None

    def _from_compiler(self, tokens: int) -> tuple[CompiledBucket, SelfTest]:
        mark = self._cache.mark(tokens)
        if mark is not None and mark.times >= GIVE_UP_AFTER and not self._retry:
            raise Unobtainable(
                f"it failed fatally {mark.times} times ({mark.happened}) and is not tried again until model, driver, "
                "firmware or options change, or 'openvino-reranker doctor --npu' succeeds with it"
            )
        try:
            output = self._cache.room(tokens)
        except OSError as error:
            raise CompileFailed(f"the cache for compiled models cannot be written: {error}; see --cache") from error
        try:
            compiled = self._compile(tokens, output)
            try:
                tested = self._test(tokens, compiled)
            except RuntimeError as error:
                what = f"preparing {tokens} tokens"
                raise translate(str(error), Doing.RUNNING, what, DeviceLost) from error
            if output.exists():
                self._cache.put(tokens, output)
            return tested
        finally:
            with contextlib.suppress(OSError):
                output.unlink()

    def _compile(self, tokens: int, output: Path) -> Any:
        """Return a freshly compiled model; ``output`` holds it unless this platform cannot export and import."""
        try:
            outcome = run_child(
                self._platform.compile_command(), self._model, tokens, self._options, output, self._compile_limit_s
            )
        except CompilerDied as died:
            self._cache.put_mark(tokens, str(died))
            raise Unobtainable(str(died)) from None
        if outcome.error:
            raise self._failure(tokens, outcome.error)
        reason = outcome.not_exported
        if not reason:
            try:
                return self._import(output.read_bytes())
            except (RuntimeError, OSError) as error:
                reason = str(error)
                known = find_known(reason, Doing.LOADING)
                if known is not None and issubclass(known.error, DeviceLost):
                    raise translate(reason, Doing.LOADING, f"loading {tokens} tokens", DeviceLost) from error
        logger.warning(
            "the NPU's plugin cannot export and import compiled models (%s): every start compiles again",
            innermost(reason),
        )
        with contextlib.suppress(OSError):
            output.unlink()
        # The child did it and lived, so this process can.
        model = self._core.read_model(self._model)
        cut_embeddings(model)
        make_static(model, tokens)
        try:
            return self._core.compile_model(model, "NPU", self._options)
        except RuntimeError as error:
            raise translate(str(error), Doing.COMPILING, f"compiling {tokens} tokens", CompileFailed) from error

    def _failure(self, tokens: int, text: str) -> Exception:
        """Return the error for a failure of the compiling process: of this bucket, or of all."""
        has_compiler = "UNSUPPORTED_FEATURE" not in text or self._platform.has_compiler()
        known = find_known(text, Doing.COMPILING, has_compiler=has_compiler)
        error: WorkerError = translate(
            text, Doing.COMPILING, f"compiling {tokens} tokens", CompileFailed, has_compiler=has_compiler
        )
        if not isinstance(error, CompileFailed):
            return error  # it is not about this bucket
        if known is None or known.marks:
            self._cache.put_mark(tokens, str(error))
        return Unobtainable(str(error))

    def _test(self, tokens: int, compiled: Any) -> tuple[CompiledBucket, SelfTest]:
        self._platform.check_compiled(compiled)
        bucket = CompiledBucket(tokens, compiled, self._requests, self._table)
        rows, logits = self._expected(tokens)
        return bucket, self_test(bucket, rows, logits, self._precision, self._counter)

    def _expected(self, tokens: int) -> tuple[list[Row], list[float]]:
        rows = {each: make_rows(self._tokenizer, each) for each in self._lengths}
        self._reference.of([row for each in rows.values() for row in each])
        return rows[tokens], self._reference.of(rows[tokens])

    def _import(self, blob: bytes) -> Any:
        # As a stream: the plugin reads it into memory that the driver can use as it is, where a tensor is copied.
        return self._core.import_model(blob, "NPU", self._options)
