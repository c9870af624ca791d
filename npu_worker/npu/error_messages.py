"""Known error texts of OpenVINO and the driver: their meaning, and what to do.

The texts are those of OpenVINO 2024 to 2026 and of Intel's Linux driver, from its source or from users' reports.
One text can mean several things: the driver says ``ZE_RESULT_ERROR_UNKNOWN`` for a model that does not compile, for a
compiled model it cannot load, and for a device that is gone. So it matters what was being done. SPEC.md has this
table too.
"""

from dataclasses import dataclass
from enum import Enum

from ..errors import (
    CompileFailed,
    DeviceLost,
    DeviceUnavailable,
    DriverMismatch,
    ModelUnusable,
    NoCompiler,
    NoPermission,
    NoUserDriver,
    OldDriver,
    WorkerError,
)
from . import advice


class Doing(Enum):
    """What was being done when an error came."""

    ASKING = "asking OpenVINO about the NPU"
    COMPILING = "compiling"
    LOADING = "loading a compiled model"
    RUNNING = "inference"


_ALWAYS = frozenset(Doing)
_COMPILING = frozenset({Doing.COMPILING})
_LOADING = frozenset({Doing.LOADING})
_COMPILING_OR_LOADING = frozenset({Doing.COMPILING, Doing.LOADING})
_ASKING_OR_RUNNING = frozenset({Doing.ASKING, Doing.RUNNING})

_DYNAMIC = (
    "the NPU runs static shapes only, and this model keeps a dynamic one: export it again with "
    "'optimum-cli export openvino --task text-classification', or pull a model in safetensors"
)
_LOST = f"the NPU hung, was reset or is gone: {advice.RELOAD}"
_FAILED = f"the NPU's driver failed without a reason: {advice.RELOAD}"
_NO_COMPILER = f"no compiler for the NPU is installed: {advice.COMPILER}"
_NO_DRIVER = f"the NPU's user-space driver finds no NPU: {advice.INSTALL}; then see 'openvino-reranker doctor'"
_MISMATCH = f"the NPU's firmware, driver and compiler are of different releases: {advice.ONE_RELEASE}"
_OLD = f"the NPU's driver or compiler is too old for this OpenVINO, or refuses the model: {advice.UPDATE}"
_COMPILE = f"the NPU's compiler gave this model up: {advice.UPDATE}, or leave this length out with --npu-buckets"
_MEMORY = "there was not enough memory for it: free some, choose fewer --npu-buckets, or a smaller model"
_BLOB = "this compiled model is damaged or of another driver: it is compiled again"
_OPTION = "the NPU's plugin does not know an option or its value: leave it out of --npu-options"


@dataclass(frozen=True, slots=True)
class KnownError:
    """A text that identifies an error, the error it is, and the sentence for it.

    Attributes:
        text: What the message contains; ``…`` stands for anything.
        error: What to raise.
        sentence: What it means and what to do.
        doing: When it means that.
        marks: Whether, of a compilation, it counts against the bucket: not where a package is to be repaired.
    """

    text: str
    error: type[WorkerError]
    sentence: str
    doing: frozenset[Doing] = _ALWAYS
    marks: bool = True

    def fits(self, text: str, doing: Doing) -> bool:
        """Return whether a message that came while something was being done is this error."""
        return doing in self.doing and all(part in text for part in self.text.split("…"))


_NO_FEATURE = "ZE_RESULT_ERROR_UNSUPPORTED_FEATURE"
#: The driver returns the same code, and no text, where it has no compiler and where it is too old.
_WITHOUT_COMPILER = KnownError(_NO_FEATURE, NoCompiler, _NO_COMPILER, _COMPILING, marks=False)

#: The first that is contained in a message, and fits what was being done, counts.
KNOWN = (
    KnownError("to_shape was called on a dynamic shape", ModelUnusable, _DYNAMIC),
    KnownError("get_shape was called on a descriptor::Tensor with dynamic shape", ModelUnusable, _DYNAMIC),
    KnownError("Upper bounds are not specified for node", ModelUnusable, _DYNAMIC),
    KnownError("Got non broadcastable dimensions pair", ModelUnusable, _DYNAMIC),
    KnownError("Got negative shape dim bound", ModelUnusable, _DYNAMIC),
    KnownError("input tensor shape and filter shape must be the same: -", ModelUnusable, _DYNAMIC),
    KnownError("Failed to check SDPA nodes", ModelUnusable, _DYNAMIC),
    KnownError("ZE_RESULT_ERROR_DEVICE_LOST", DeviceLost, _LOST),
    KnownError("0x70000001", DeviceLost, _LOST),
    KnownError("ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY", CompileFailed, _MEMORY, _COMPILING_OR_LOADING, marks=False),
    KnownError("ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", CompileFailed, _MEMORY, _COMPILING_OR_LOADING, marks=False),
    # Fresh from the compiler it is the firmware that does not fit; from the cache it is the compiled model.
    KnownError(
        "MAPPED_INFERENCE_VERSION is NOT compatible with the ELF", DriverMismatch, _MISMATCH, _COMPILING, marks=False
    ),
    KnownError("ZE_RESULT_ERROR_INVALID_NATIVE_BINARY", DriverMismatch, _MISMATCH, _COMPILING, marks=False),
    KnownError("VCL Compiler API version mismatch", DriverMismatch, _MISMATCH, _COMPILING, marks=False),
    KnownError("ZE_RESULT_ERROR_UNSUPPORTED_VERSION", DriverMismatch, _MISMATCH, _COMPILING, marks=False),
    KnownError("MAPPED_INFERENCE_VERSION is NOT compatible with the ELF", CompileFailed, _BLOB, _LOADING),
    KnownError("ZE_RESULT_ERROR_INVALID_NATIVE_BINARY", CompileFailed, _BLOB, _LOADING),
    KnownError("Unexpected end of ORC input stream", CompileFailed, _BLOB, _LOADING),
    KnownError("No backend registered during model import", CompileFailed, _BLOB, _LOADING),
    KnownError("VCL compiler loading failed", NoCompiler, _NO_COMPILER),
    KnownError("libopenvino_intel_npu_compiler_loader.so", NoCompiler, _NO_COMPILER),
    KnownError("libopenvino_intel_npu_compiler.so", NoCompiler, _NO_COMPILER),
    KnownError("Could not find an NPU device", NoUserDriver, _NO_DRIVER),
    KnownError("Could not find a valid NPU device", NoUserDriver, _NO_DRIVER),
    KnownError("No available devices", NoUserDriver, _NO_DRIVER),
    KnownError("No available backend", NoUserDriver, _NO_DRIVER),
    KnownError("/dev/accel/accel", NoPermission, f"this user may not open the NPU: {advice.join_group('render')}"),
    KnownError(_NO_FEATURE, OldDriver, _OLD, _COMPILING, marks=False),
    KnownError("API version found in the serialized model is not supported", OldDriver, _OLD, _COMPILING, marks=False),
    KnownError("unsupported opset", OldDriver, _OLD, _COMPILING, marks=False),
    KnownError("[NPU_DRV] Driver reports a failure from vcl", CompileFailed, _COMPILE, _COMPILING),
    KnownError("[NPU_VCL] Compiler returned msg", CompileFailed, _COMPILE, _COMPILING),
    KnownError("StopLocationVerifierPass", CompileFailed, _COMPILE, _COMPILING),
    KnownError("0x78000004", CompileFailed, _COMPILE, _COMPILING),
    KnownError("Unsupported configuration key", DeviceUnavailable, _OPTION, marks=False),
    KnownError("Unsupported property", DeviceUnavailable, _OPTION, marks=False),
    KnownError("is not a valid … option", DeviceUnavailable, _OPTION, marks=False),
    KnownError("is not supported for current configuration", DeviceUnavailable, _OPTION, marks=False),
    # They say nothing by themselves, so they come last.
    KnownError("ZE_RESULT_ERROR_UNKNOWN", CompileFailed, _COMPILE, _COMPILING),
    KnownError("0x7ffffffe", CompileFailed, _COMPILE, _COMPILING),
    KnownError("ZE_RESULT_ERROR_UNKNOWN", CompileFailed, _BLOB, _LOADING),
    KnownError("0x7ffffffe", CompileFailed, _BLOB, _LOADING),
    KnownError("ZE_RESULT_ERROR_UNKNOWN", DeviceLost, _FAILED, _ASKING_OR_RUNNING),
    KnownError("0x7ffffffe", DeviceLost, _FAILED, _ASKING_OR_RUNNING),
)


def find_known(text: str, doing: Doing, *, has_compiler: bool = True) -> KnownError | None:
    """Return the entry of ``KNOWN`` for an error text, if there is one.

    Args:
        text: What OpenVINO said.
        doing: What was being done.
        has_compiler: Whether a compiler is installed: the driver says nothing else where none is.
    """
    known = next((known for known in KNOWN if known.fits(text, doing)), None)
    return _WITHOUT_COMPILER if known is not None and known.text == _NO_FEATURE and not has_compiler else known


def translate(
    text: str, doing: Doing, what: str, otherwise: type[WorkerError], *, has_compiler: bool = True
) -> WorkerError:
    """Return an error to raise for what OpenVINO said.

    Args:
        text: What it said.
        doing: What was being done.
        what: That in words, such as ``compiling 128 tokens``.
        otherwise: The error for a text that is not known.
        has_compiler: As for ``find_known``.
    """
    known = find_known(text, doing, has_compiler=has_compiler)
    reason = innermost(text)
    if known is None:
        return otherwise(f"{what} on the NPU failed: {reason}")
    return known.error(f"{what} on the NPU failed: {known.sentence} ({reason})")


def innermost(text: str) -> str:
    """Return what the deepest layer said: OpenVINO puts ``Exception from file:line:`` of each layer above it."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    messages = [line for line in lines if line and not line.startswith("Exception from ")]
    return " ".join(messages)[:400] or text.strip()[:400] or "no reason given"
