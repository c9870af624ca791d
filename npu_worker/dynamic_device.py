"""``CPU`` and ``GPU``: devices that take any shape."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from ..protocol.messages import Bucket
from .device import Finished, Wake
from .errors import DeviceUnavailable, ModelUnusable
from .inputs import INPUT_NAMES, fill
from .logits import read_logits
from .packing import Run, pack
from .tokenization import Row


class DynamicDevice:
    """A device that takes any shape (CPU, GPU): one compiled model, rows padded to the longest of a run.

    Two inference requests on one stream: while one computes with all cores, the next is ready behind it.

    Args:
        model: The ``model.xml``.
        max_length: The longest row it takes, tokens.
        device: ``CPU`` or ``GPU``.
        precision: The arithmetic's: ``f32``, ``bf16``, or ``auto`` for what OpenVINO chooses on this machine.
        threads: Cores to use; 0 for all.

    Raises:
        DeviceUnavailable: OpenVINO has no such device here.
        ModelUnusable: The model cannot be read or compiled.
    """

    budget_tokens = 8192
    buckets: Sequence[Bucket] = ()
    #: Padded tokens of one run: a CPU is at its full rate from about 400 on, and a run must not take long.
    run_tokens = 1024
    _requests_in_flight = 2

    def __init__(self, model: Path, max_length: int, device: str, precision: str = "f32", threads: int = 0) -> None:
        core = ov.Core()
        if device not in core.available_devices:
            raise DeviceUnavailable(
                f"OpenVINO finds no {device} on this machine (it finds {', '.join(core.available_devices)}); "
                "choose one of these with --device"
            )
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if precision != "auto":
            options["INFERENCE_PRECISION_HINT"] = precision
        if device == "CPU":
            # For weights compressed to int8 it would quantise activations as it goes, in groups that padding moves:
            # a pair's score would depend on its neighbours.
            options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if threads and device == "CPU":
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = core.compile_model(model, device, options)
        except RuntimeError as error:
            raise ModelUnusable(f"OpenVINO cannot compile {model} for {device}: {error}") from error
        self.name = device
        self._max_length = max_length
        self.precision = precision_name(compiled)
        self._inputs = {name: port for port in compiled.inputs for name in port.names if name in INPUT_NAMES}
        self._free = [compiled.create_infer_request() for _ in range(self._requests_in_flight)]
        self._ended: deque[tuple[Exception | None, Any, Run, float]] = deque()
        self._tensors: dict[Run, dict[str, ov.Tensor]] = {}

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        """Cut rows into runs of like lengths."""
        return pack(lengths, self.run_tokens, self._max_length)

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        """Start a run; False if two are in flight already."""
        if not self._free:
            return False
        request = self._free.pop()
        # OpenVINO keeps the addresses only: the arrays must live until the run has ended.
        self._tensors[run] = fill(run, rows, self._inputs)
        for name, tensor in self._tensors[run].items():
            request.set_tensor(self._inputs[name], tensor)

        def ended(_: object) -> None:
            self._ended.append((None, request, run, time.monotonic()))
            wake()

        request.set_callback(ended, None)
        try:
            request.start_async()
        except RuntimeError as error:
            self._ended.append((error, request, run, time.monotonic()))
            wake()
        return True

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call."""
        finished = []
        while self._ended:
            error, request, run, ended = self._ended.popleft()
            del self._tensors[run]
            finished.append(Finished(run, error or read_logits(request), ended))
            self._free.append(request)
        return finished

    def details(self) -> dict[str, Any]:
        """Return what status pages show: nothing beyond the name and the precision."""
        return {}

    def progress(self) -> str:
        """Return what is still being got ready: nothing."""
        return ""

    def check(self) -> None:
        """Raise nothing: what fails here fails with its batch."""


def precision_name(compiled: Any) -> str:
    """Return the precision a compiled model computes in, as ``f32``, ``bf16`` or ``f16``."""
    name = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(name, name)
