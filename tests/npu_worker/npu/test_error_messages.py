from typing import Any

import openvino as ov
import pytest
from openvino_reranker.npu_worker.errors import (
    CompileFailed,
    DeviceLost,
    DeviceUnavailable,
    ModelUnusable,
    NoCompiler,
    NoPermission,
    NoUserDriver,
    WorkerError,
)
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiler_process import Order, compile_order, make_static
from openvino_reranker.npu_worker.npu.error_messages import KNOWN, find_known, innermost, translate
from openvino_reranker.npu_worker.npu.sysfs import find_npu

DYNAMIC, LOST, BLOB = "static shapes only", "modprobe -r intel_vpu", "thrown away and compiled again"

#: As users met them: text, error, and what the sentence must speak of.
MET = [
    ("to_shape was called on a dynamic shape.", ModelUnusable, DYNAMIC),
    ("get_shape was called on a descriptor::Tensor with dynamic shape", ModelUnusable, DYNAMIC),
    (
        "[IE::FrontEnd::importNetwork] Upper bounds are not specified for node 'x' (type 'Gather')",
        ModelUnusable,
        DYNAMIC,
    ),
    (
        "Got non broadcastable dimensions pair : '9223372036854775807' and -9223372036854775808'",
        ModelUnusable,
        DYNAMIC,
    ),
    ("Got negative shape dim bound: '-1'", ModelUnusable, DYNAMIC),
    (
        "Channels count of input tensor shape and filter shape must be the same: -9223372036854775808",
        ModelUnusable,
        DYNAMIC,
    ),
    ("Check 'check_sdpa_nodes(model)' failed at x.cpp:1: Failed to check SDPA nodes", ModelUnusable, DYNAMIC),
    (
        'VCL compiler loading failed, aborting. Error: Cannot load library "libopenvino_intel_npu_compiler_loader.so"',
        NoCompiler,
        "intel-driver-compiler-npu",
    ),
    ("Cannot load library libopenvino_intel_npu_compiler_loader.so", NoCompiler, "intel-driver-compiler-npu"),
    ("Cannot load library libopenvino_intel_npu_compiler.so", NoCompiler, "intel-driver-compiler-npu"),
    ("libnpu_driver_compiler.so: cannot open shared object file", NoCompiler, "intel-driver-compiler-npu"),
    (
        "Could not find an NPU device. The driver compiler requires a valid device to be present in the system.",
        NoUserDriver,
        "intel-level-zero-npu",
    ),
    ("No available devices", NoUserDriver, "intel-level-zero-npu"),
    ("No available backend", NoUserDriver, "intel-level-zero-npu"),
    (
        "L0 zeFenceHostSynchronize result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001 - device hung, reset, "
        "was removed, or driver update occurred",
        DeviceLost,
        LOST,
    ),
    ("L0 zeCommandQueueExecuteCommandLists result: code 0x70000001", DeviceLost, LOST),
    ("ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe - unknown", DeviceLost, LOST),
    ("zeContextCreate result: 0x7ffffffe", DeviceLost, LOST),
    (
        "L0 pfnCreate2 result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe. [NPU_VCL] Compiler returned msg: "
        "Compilation failed",
        CompileFailed,
        "--npu-buckets",
    ),
    ("L0 pfnCreate2 result: 0x78000004", CompileFailed, "--npu-buckets"),
    ("Failed Pass StopLocationVerifierPass on Operation", CompileFailed, "--npu-buckets"),
    ("ZE_RESULT_ERROR_UNSUPPORTED_FEATURE", DeviceUnavailable, "too old"),
    ("[ERROR] Failed to open file '/dev/accel/accel0': Permission denied", NoPermission, "usermod -aG render"),
    ("open: Permission denied", NoPermission, "usermod -aG render"),
    ("MAPPED_INFERENCE_VERSION is NOT compatible with the ELF", CompileFailed, BLOB),
    ("Unexpected end of ORC input stream", CompileFailed, BLOB),
    ("No backend registered during model import", CompileFailed, BLOB),
    ("Unsupported configuration key: NPU_TILES", DeviceUnavailable, "--npu-options"),
    ("NotFound: Unsupported property NPU_TURBO by CPU plugin.", DeviceUnavailable, "--npu-options"),
]


@pytest.mark.parametrize(("text", "error", "speaks_of"), MET)
def test_a_known_text_becomes_its_sentence(text: str, error: type[WorkerError], speaks_of: str) -> None:
    layers = f"Exception from src/inference/src/cpp/core.cpp:117:\nException from src/x.cpp:5:\n{text}\n\n\n"
    found = translate(layers, "compiling 64 tokens", WorkerError)
    assert type(found) is error
    assert speaks_of in str(found)
    assert text in str(found)
    assert "Exception from" not in str(found)


def test_every_entry_has_been_met() -> None:
    assert {find_known(text) for text, _, _ in MET} == set(KNOWN)


def test_an_unknown_text_is_told_as_it_is() -> None:
    found = translate("Exception from a.cpp:1:\nsomething new\n", "an inference", DeviceLost)
    assert type(found) is DeviceLost
    assert str(found) == "an inference on the NPU failed: something new"
    assert innermost("") == "no reason given"


needs_no_npu = pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")


@needs_no_npu
@pytest.mark.parametrize(("compiler", "error"), [("DRIVER", NoUserDriver), ("PLUGIN", NoCompiler)])
def test_the_real_plugin_without_device_or_compiler(tiny: ReadyModel, compiler: str, error: Any) -> None:
    order = Order(str(tiny.folder / "model.xml"), 32, {"NPU_COMPILER_TYPE": compiler}, "/nowhere/blob", 0)
    assert type(translate(compile_order(order).error, "compiling 32 tokens", WorkerError)) is error


@needs_no_npu
@pytest.mark.parametrize("name", ["NPU_DRIVER_VERSION", "FULL_DEVICE_NAME"])
def test_the_real_plugin_asked_about_no_device(name: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        ov.Core().get_property("NPU", name)
    assert find_known(str(raised.value)) is not None


@needs_no_npu
def test_the_real_plugin_given_what_is_no_blob(tiny: ReadyModel) -> None:
    with pytest.raises(RuntimeError) as raised:
        ov.Core().import_model(b"garbage" * 100, "NPU", {})
    known = find_known(str(raised.value))
    assert known is not None
    assert BLOB in known.sentence


def test_the_proxy_refuses_options_of_the_npu(tiny: ReadyModel, proxy: ov.Core) -> None:
    graph = proxy.read_model(tiny.folder / "model.xml")
    make_static(graph, 32)
    with pytest.raises(RuntimeError) as raised:
        proxy.compile_model(graph, "NPU", {"NPU_TURBO": "YES"})
    assert type(translate(str(raised.value), "compiling", WorkerError)) is DeviceUnavailable
