"""A model on a device, ready to score: what the worker serves, and what can also run without a queue."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..protocol.timeouts import DEFAULT_TIMEOUTS, Timeouts
from ..protocol.worker_messages import Batch, BatchFailed, BatchResult
from .device import Device
from .dynamic_device import DynamicDevice
from .errors import DeviceLost, DeviceStuck, ModelUnusable
from .job import Job
from .model.errors import ModelError
from .model.store import ReadyModel, load
from .npu.bucket_loader import Say
from .npu.busy_monitor import BusyMonitor
from .npu.platform import Platform
from .npu.settings import NpuSettings
from .npu.start import start_npu
from .pipeline import Pipeline
from .tokenization import PairTokenizer

logger = logging.getLogger("openvino_reranker.worker")

#: A pair every English cross-encoder has an opinion on; only a number is asked for, not which.
_SMOKE_QUERY = "what is a cross-encoder?"
_SMOKE_PASSAGE = "A cross-encoder reads a query and a passage together and answers how well they fit."


class Engine:
    """Tokenizer, model and device of one worker.

    Attributes:
        model: The ready model.
        tokenizer: Its tokenizer.
        device: The device it is compiled for.
        monitor: What proves that the device works, where there is such a thing.
    """

    def __init__(
        self, model: ReadyModel, tokenizer: PairTokenizer, device: Device, monitor: BusyMonitor | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.device = device
        self.monitor = monitor

    @classmethod
    def open(
        cls,
        folder: Path,
        device: str,
        precision: str = "f32",
        threads: int = 0,
        npu: NpuSettings | None = None,
        platform: Platform | None = None,
        say: Say = logger.info,
    ) -> "Engine":
        """Load a ready model onto a device and try it with one inference.

        Args:
            folder: The ready model's.
            device: ``NPU``, ``CPU`` or ``GPU``.
            precision: Of the arithmetic on CPU and GPU.
            threads: Cores to use on the CPU; 0 for all.
            npu: How to use the NPU; the defaults if not given, with the compiled model beside the model.
            platform: The machine; the real one if not given.
            say: Called with a line on what is being done.

        Raises:
            ModelUnusable: The folder holds no ready model, or it does not compile.
            DeviceUnavailable: The device is not available.
            CompileFailed: The NPU's compiler cannot compile the model.
            NotProven: The NPU's start-up self-test failed: no proof of NPU use, or wrong scores.
            DeviceLost: The first inference failed, or returned NaN or infinity.
        """
        model, tokenizer = open_model(folder)
        if device == "NPU":
            npu = npu or NpuSettings(folder.parent / "compiled")
            npu_device = start_npu(model, tokenizer, npu, platform or Platform(), say)
            if npu_device.longest < tokenizer.max_length:  # the longer buckets cannot be compiled
                tokenizer = PairTokenizer(folder / "tokenizer.json", npu_device.longest)
            engine = cls(model, tokenizer, npu_device, npu_device.busy_monitor)
        else:
            on = DynamicDevice(folder / "model.xml", model.card.max_length, device, precision, threads)
            engine = cls(model, tokenizer, on)
        engine.smoke()
        return engine

    def smoke(self) -> None:
        """Run one pair. Raises ``DeviceLost`` unless a finite logit comes back."""
        logit = self.score(_SMOKE_QUERY, [_SMOKE_PASSAGE]).logits[0]
        if not math.isfinite(logit):
            raise DeviceLost(f"the first inference on {self.device.name} returned {logit}")

    def score(self, query: str, passages: Sequence[str]) -> BatchResult:
        """Score passages without queue or sockets; raises ``DeviceLost`` if the device fails."""
        return self.run(Batch(0, [query.encode()], [(0, passage.encode()) for passage in passages]))

    def run(self, batch: Batch, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> BatchResult:
        """Run one batch to its end, through the same path as a served one.

        Raises:
            DeviceStuck: The device finished nothing for ``timeouts.first_inference`` s.
            DeviceLost: It failed.
        """
        finished = threading.Event()
        pipeline = Pipeline(self.device, finished.set)
        pipeline.add(Job(batch, self.tokenizer, self.device), time.monotonic())
        while not (done := pipeline.advance(time.monotonic())):
            self.device.check()
            if (stalled_ms := pipeline.stalled_ms(time.monotonic())) > timeouts.first_inference * 1000:
                raise DeviceStuck(f"the {self.device.name} has finished nothing for {stalled_ms / 1000:.0f} s")
            finished.wait(1.0)
            finished.clear()
        answer = done[0].answer(None)
        if isinstance(answer, BatchFailed):
            raise DeviceLost(f"the {self.device.name} failed: {answer.message}")
        return answer


def open_model(folder: Path) -> tuple[ReadyModel, PairTokenizer]:
    """Return a ready model and its tokenizer.

    Raises:
        ModelUnusable: The folder holds no ready model.
    """
    try:
        model = load(folder)
    except ModelError as error:
        raise ModelUnusable(str(error)) from error
    return model, PairTokenizer(folder / "tokenizer.json", model.card.max_length)
