"""What OpenVINO and the driver say, and what it means: known error texts, each with a sentence and what to do.

The texts are those of OpenVINO 2024 to 2026 and of Intel's Linux driver, as users met them.
"""

from dataclasses import dataclass

from ..errors import (
    CompileFailed,
    DeviceLost,
    DeviceUnavailable,
    ModelUnusable,
    NoCompiler,
    NoPermission,
    NoUserDriver,
    WorkerError,
)

RELOAD = "reload the driver with 'sudo modprobe -r intel_vpu && sudo modprobe intel_vpu', or start the machine anew"
_DYNAMIC = (
    "the NPU runs static shapes only, and this model keeps a dynamic one: export it anew with "
    "'optimum-cli export openvino --task text-classification', or pull a model in safetensors"
)
_COMPILER = (
    "no compiler for the NPU is installed: install Intel's package intel-driver-compiler-npu, of the same release "
    "as intel-level-zero-npu"
)
_USER_DRIVER = (
    "the NPU's user-space driver finds no NPU: install Intel's packages intel-level-zero-npu and intel-fw-npu and a "
    "libze1 of 1.17.17 or newer, then look at 'openvino-reranker doctor'"
)
_PERMISSION = (
    "this user may not open the NPU: join the group that owns /dev/accel/accel* ('sudo usermod -aG render $USER'), "
    "then log in anew"
)
_LOST = f"the NPU hung, was reset or is gone: {RELOAD}"
_COMPILE = (
    "the NPU's compiler gave this model up: update Intel's NPU driver (1.24 or newer), or leave this length out "
    "with --npu-buckets"
)
_OLD_DRIVER = "the NPU's driver is too old for this OpenVINO: update Intel's NPU driver packages"
_BLOB = "a compiled model in the cache is damaged or of another driver: it is thrown away and compiled again"
_OPTION = "the NPU's plugin does not know an option: leave it out of --npu-options"


@dataclass(frozen=True, slots=True)
class KnownError:
    """A text that identifies an error, the error it is, and the sentence for it."""

    text: str
    error: type[WorkerError]
    sentence: str


#: The first that is found in a message counts.
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
    KnownError("MAPPED_INFERENCE_VERSION is NOT compatible with the ELF", CompileFailed, _BLOB),
    KnownError("Unexpected end of ORC input stream", CompileFailed, _BLOB),
    KnownError("No backend registered during model import", CompileFailed, _BLOB),
    KnownError("VCL compiler loading failed", NoCompiler, _COMPILER),
    KnownError("libopenvino_intel_npu_compiler_loader.so", NoCompiler, _COMPILER),
    KnownError("libopenvino_intel_npu_compiler.so", NoCompiler, _COMPILER),
    KnownError("libnpu_driver_compiler.so", NoCompiler, _COMPILER),
    KnownError("Could not find an NPU device", NoUserDriver, _USER_DRIVER),
    KnownError("No available devices", NoUserDriver, _USER_DRIVER),
    KnownError("No available backend", NoUserDriver, _USER_DRIVER),
    KnownError("/dev/accel/accel0': Permission denied", NoPermission, _PERMISSION),
    KnownError("Permission denied", NoPermission, _PERMISSION),
    KnownError("ZE_RESULT_ERROR_UNSUPPORTED_FEATURE", DeviceUnavailable, _OLD_DRIVER),
    KnownError("[NPU_VCL] Compiler returned msg", CompileFailed, _COMPILE),
    KnownError("0x78000004", CompileFailed, _COMPILE),
    KnownError("StopLocationVerifierPass", CompileFailed, _COMPILE),
    KnownError("Unsupported configuration key", DeviceUnavailable, _OPTION),
    KnownError("Unsupported property", DeviceUnavailable, _OPTION),
    # Says nothing by itself, so it comes last.
    KnownError("ZE_RESULT_ERROR_UNKNOWN", DeviceLost, f"the NPU's driver failed and does not say why: {RELOAD}"),
    KnownError("0x7ffffffe", DeviceLost, f"the NPU's driver failed and does not say why: {RELOAD}"),
)


def find_known(text: str) -> KnownError | None:
    """Return the entry of ``KNOWN`` for an error text, if there is one."""
    return next((known for known in KNOWN if known.text in text), None)


def translate(text: str, doing: str, otherwise: type[WorkerError]) -> WorkerError:
    """Return an error to raise for what OpenVINO said.

    Args:
        text: What it said.
        doing: What was being done, such as ``compiling 128 tokens``.
        otherwise: The error for a text that is not known.
    """
    known = find_known(text)
    said = innermost(text)
    if known is None:
        return otherwise(f"{doing} on the NPU failed: {said}")
    return known.error(f"{doing} on the NPU failed: {known.sentence} ({said})")


def innermost(text: str) -> str:
    """Return what the deepest layer said: OpenVINO puts ``Exception from file:line:`` of each layer above it."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception from ")]
    return " ".join(said)[:400] or text.strip()[:400] or "no reason given"
