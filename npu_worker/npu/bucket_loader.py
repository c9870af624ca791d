"""Fills a device with its buckets, longest first: which one is next, and which are given up."""

import logging
import threading
from collections.abc import Callable

from ..errors import CompileFailed, DeviceLost, WorkerError
from .blob_cache import GIVE_UP_AFTER, BlobCache
from .bucket_builder import BucketBuilder, Unobtainable
from .bucket_plan import LEAST_LONGEST
from .device import NpuDevice

logger = logging.getLogger("openvino_reranker.worker")

Say = Callable[[str], None]


class BucketLoader:
    """Fills a device with its buckets.

    A bucket whose self-test lost the device twice since the driver was loaded is suspected: it is tried last, and if
    another one works, it is given up. If none does, the device is at fault, and no bucket is blamed.

    Args:
        device: The device to fill.
        builder: Makes the buckets.
        cache: Where losses are noted.
        device_epoch: Changes when the driver is reloaded.
        retry: Whether to try what is suspected or was given up.
    """

    def __init__(
        self, device: NpuDevice, builder: BucketBuilder, cache: BlobCache, device_epoch: str, *, retry: bool = False
    ) -> None:
        self._device = device
        self._builder = builder
        self._cache = cache
        self._device_epoch = device_epoch
        self._retry = retry
        self._pending = set(device.wanted)
        self._suspects = {
            tokens for tokens in device.wanted if cache.count_losses(tokens, device_epoch) >= GIVE_UP_AFTER
        }

    @property
    def pending(self) -> bool:
        """Whether there are buckets that were not tried yet."""
        return self._choose() is not None

    def load_next(self, say: Say) -> None:
        """Get the longest of the missing buckets ready; one that cannot be made is given up and the next one tried.

        Raises:
            CompileFailed: No bucket can be compiled that is long enough to be the longest.
            WorkerError: The NPU failed, or a self-test did.
        """
        reasons: list[str] = []
        while (tokens := self._choose()) is not None:
            say(f"{self._device.progress()} ({tokens} tokens)")
            self._pending.remove(tokens)
            try:
                self._load(tokens)
            except Unobtainable as error:
                reasons.append(str(error))
                self._give_up(tokens, reasons[-1])
                continue
            return
        if not self._device.buckets:
            raise CompileFailed(f"no bucket of {self._least} tokens or more can be used; the longest: {reasons[0]}")

    def load_rest(self) -> None:
        """Get all other buckets ready; a failure is reported to the device."""
        try:
            while self.pending:
                self.load_next(logger.info)
            logger.info("all buckets are ready")
        except WorkerError as error:
            self._device.fail(error)
        except Exception as error:
            logger.exception("the compiling thread failed")
            self._device.fail(WorkerError(f"preparing the NPU's buckets failed: {error}"))

    def load_rest_in_background(self) -> None:
        """Do ``load_rest`` in a thread that ends with the process."""
        threading.Thread(target=self.load_rest, name="openvino-reranker-compile", daemon=True).start()

    @property
    def _least(self) -> int:
        return min(LEAST_LONGEST, self._device.wanted[-1])

    def _choose(self) -> int | None:
        least = 0 if self._device.buckets else self._least
        choice = [tokens for tokens in self._pending if tokens >= least]
        return max(choice, key=lambda tokens: (tokens not in self._suspects, tokens), default=None)

    def _load(self, tokens: int) -> None:
        if tokens in self._suspects and self._device.buckets and not self._retry:
            happened = f"its self-test lost the device {GIVE_UP_AFTER} times, while other buckets work"
            self._cache.put_mark(tokens, happened, times=GIVE_UP_AFTER)
            raise Unobtainable(happened)
        try:
            self._device.admit(*self._builder.build(tokens))
        except DeviceLost as error:
            self._cache.note_loss(tokens, self._device_epoch, str(error))
            raise

    def _give_up(self, tokens: int, why: str) -> None:
        then = (
            "its rows run in the next larger one" if self._device.buckets else "texts are cut to the next shorter one"
        )
        logger.warning("no bucket of %d tokens: %s; %s", tokens, why, then)
        self._device.give_up(tokens, why)
