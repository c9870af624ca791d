"""The device as the worker uses it: runs are started, and what has finished is collected.

``CPU`` and ``GPU`` take any shape; the class for them is here.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ..protocol.messages import Bucket
from .errors import DeviceUnavailable, ModelUnusable
from .packing import Run, pack
from .tokenization import Row

if TYPE_CHECKING:
    from .job import Job
    from .npu.busy_monitor import BusyMonitor

#: Called in a thread of OpenVINO's when a run has finished; must not block.
Wake = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: its logits in the order of its rows, or the error; and when, s (monotonic)."""

    run: Run
    logits: NDArray[np.float32] | Exception
    ended: float


#: The names a BERT-like cross-encoder's inputs have.
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")


class Device(Protocol):
    """What the worker needs of a device."""

    name: str
    precision: str
    budget_tokens: int
    buckets: Sequence[Bucket]
    #: What proves that the device works, where there is such a thing.
    witness: "BusyMonitor[Job] | None"

    def pack(self, lengths: Sequence[int]) -> list[Run]:
        """Cut rows of these lengths into runs the device can take."""
        ...

    def start(self, run: Run, rows: Sequence[Row], wake: Wake) -> bool:
        """Start a run; False if it cannot start now. A later run may."""
        ...

    def waits(self, run: Run) -> bool:
        """Return whether a run waits for something else than room in flight."""
        ...

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call, in the order they did."""
        ...

    def details(self) -> dict[str, Any]:
        """Return what status pages show of the device."""
        ...

    def progress(self) -> str:
        """Return what the device is still getting ready, in a few words; empty when it is all there."""
        ...

    def check(self) -> None:
        """Raise the ``WorkerError`` that makes it impossible to go on, if there is one."""
        ...


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
    witness: "BusyMonitor[Job] | None" = None
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
        self._ended: deque[tuple[Any, Run, float]] = deque()
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
            self._ended.append((request, run, time.monotonic()))
            wake()

        request.set_callback(ended, None)
        request.start_async()
        return True

    def collect(self) -> list[Finished]:
        """Return the runs that have finished since the last call."""
        finished = []
        while self._ended:
            request, run, ended = self._ended.popleft()
            del self._tensors[run]
            finished.append(Finished(run, read_logits(request), ended))
            self._free.append(request)
        return finished

    def details(self) -> dict[str, Any]:
        """Return what status pages show: nothing beyond the name and the precision."""
        return {}

    def waits(self, run: Run) -> bool:  # noqa: ARG002
        """Return whether a run waits for something else than room in flight: it never does."""
        return False

    def progress(self) -> str:
        """Return what is still being got ready: nothing."""
        return ""

    def check(self) -> None:
        """Raise nothing: what fails here fails with its batch."""


def read_logits(request: Any) -> NDArray[np.float32] | Exception:
    """Return a copy of the logits of a request that has ended, or why it has none."""
    try:
        request.wait()
        logits: NDArray[np.float32] = request.get_output_tensor(0).data.reshape(-1).astype(np.float32)
    except Exception as error:
        return error
    if not np.isfinite(logits).all():
        return ArithmeticError(f"the device answered {logits.tolist()}: not all are finite numbers")
    return logits


def precision_name(compiled: Any) -> str:
    """Return the precision a compiled model computes in, as ``f32``, ``bf16`` or ``f16``."""
    name = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(name, name)


def fill(run: Run, rows: Sequence[Row], inputs: dict[str, Any]) -> dict[str, ov.Tensor]:
    """Return the input tensors of a run, padded with 0, in the element type each input has."""
    arrays = {
        name: np.zeros((len(run.rows), run.length), port.get_element_type().to_dtype()) for name, port in inputs.items()
    }
    ids, mask, types = (arrays.get(name) for name in INPUT_NAMES)
    for place, number in enumerate(run.rows):
        row = rows[number]
        width = len(row)
        if ids is not None:
            ids[place, :width] = row.ids
        if mask is not None:
            mask[place, :width] = 1
        if types is not None:
            types[place, :width] = row.types
    return {name: ov.Tensor(array, shared_memory=True) for name, array in arrays.items()}
