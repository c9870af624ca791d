"""``CPU`` and ``GPU``: devices that take any shape, and are given those of a small menu."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from ..protocol.worker_messages import Bucket
from .device import Finished, Wake
from .errors import DeviceUnavailable, ModelUnusable
from .inputs import Arrays, empty_arrays, fill, known_ports
from .logits import read_logits
from .openvino_core import shared_core
from .packing import Run, Shape, pack, shape_menu
from .tokenization import Row

#: Shapes of more tokens are not visited beforehand: their kernels cost little beside a run of them, and a request
#: that comes meanwhile would wait long. Only models of very long rows have such shapes.
MOST_WARM_UP_TOKENS = 1024


class DynamicDevice:
    """A device that takes any shape (CPU, GPU): one compiled model, run in the shapes of ``packing.shape_menu``.

    Two inference requests on one stream: while one computes with all cores, the next is already queued.

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

    budget_tokens = 16384
    buckets: Sequence[Bucket] = ()
    _requests_in_flight = 2

    def __init__(self, model: Path, max_length: int, device: str, precision: str = "f32", threads: int = 0) -> None:
        core = shared_core()
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
        self._ports = known_ports(compiled.inputs)
        self._free = [compiled.create_infer_request() for _ in range(self._requests_in_flight)]
        self._ended: deque[tuple[Exception | None, Any, Run, float]] = deque()
        self._arrays: dict[Run, Arrays] = {}
        self._warm_up_run: Run | None = None
        self._menu = frozenset(shape_menu(max_length))
        self._unvisited = dict.fromkeys(
            shape for shape in shape_menu(max_length) if shape.tokens <= MOST_WARM_UP_TOKENS
        )
        self._to_visit = len(self._unvisited)

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        """Cut rows into runs of similar lengths."""
        return pack(lengths, self._max_length)

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        """Start a run; False if two are in flight already.

        Raises:
            ValueError: Its shape is not on the menu.
        """
        if run.shape not in self._menu:
            raise ValueError(f"{run.shape} is not on the menu")
        if not self._free:
            return False
        request = self._free.pop()
        # OpenVINO keeps the addresses only: the arrays must live until the run has ended.
        arrays = empty_arrays(self._ports, run.shape.rows, run.length)
        fill(arrays, [rows[place] for place in run.rows])
        self._arrays[run] = arrays
        for name, array in arrays.items():
            request.set_tensor(self._ports[name], ov.Tensor(array, shared_memory=True))

        def ended(_: object) -> None:
            self._ended.append((None, request, run, time.monotonic()))
            wake()

        request.set_callback(ended, None)
        try:
            request.start_async()
        except RuntimeError as error:
            self._ended.append((error, request, run, time.monotonic()))
            wake()
        self._unvisited.pop(run.shape, None)
        return True

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call."""
        finished = []
        while self._ended:
            error, request, run, ended = self._ended.popleft()
            del self._arrays[run]
            self._free.append(request)
            if run is self._warm_up_run:
                self._warm_up_run = None
                continue
            logits = error or read_logits(request)
            if not isinstance(logits, Exception):
                logits = logits[: len(run.rows)]
            finished.append(Finished(run, logits, ended))
        return finished

    def warm_up(self, wake: Wake) -> None:
        """Visit the largest shape of the menu that no run has had yet, unless one is being visited."""
        if self._warm_up_run is None and self._free and self._unvisited:
            shape = next(iter(self._unvisited))
            self._warm_up_run = Run((0,), shape.length, shape.rows - 1)
            self.start(self._warm_up_run, [Row([0] * shape.length, [0] * shape.length, False)], wake)

    @property
    def warm(self) -> bool:
        """Whether every shape has been visited."""
        return not self._unvisited

    @property
    def warming_up(self) -> bool:
        """Whether a run of the warm-up is on the device, or has not been collected yet."""
        return self._warm_up_run is not None

    @property
    def unvisited(self) -> Sequence[Shape]:
        """The shapes that no run has had yet."""
        return list(self._unvisited)

    def details(self) -> dict[str, Any]:
        """Return what status pages show: nothing beyond the name and the precision."""
        return {}

    def progress(self) -> str:
        """Return how many shapes have been visited, such as ``warming up 12/56``; empty when all have."""
        left = len(self._unvisited)
        return f"warming up {self._to_visit - left}/{self._to_visit}" if left else ""

    def check(self) -> None:
        """Raise nothing: what fails here fails with its batch."""


def precision_name(compiled: Any) -> str:
    """Return the precision a compiled model computes in, as ``f32``, ``bf16`` or ``f16``."""
    name = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(name, name)
