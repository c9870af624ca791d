"""Error texts as OpenVINO, the driver's source and users have them, and what is made of each.

Where a text is from, is said behind it: ``umd`` is Intel's user-space driver, a number an issue of openvinotoolkit's.
"""

from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from openvino_reranker.npu_worker.errors import (
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
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiler_process import Order, compile_order
from openvino_reranker.npu_worker.npu.error_messages import KNOWN, Doing, find_known, innermost, translate
from openvino_reranker.npu_worker.npu.host_embeddings import make_static
from openvino_reranker.npu_worker.npu.sysfs import find_npu

ASKING, COMPILING, LOADING, RUNNING = Doing.ASKING, Doing.COMPILING, Doing.LOADING, Doing.RUNNING
DYNAMIC, LOST, BLOB = "static shapes only", "modprobe -r intel_vpu", "compiled again"
COMPILER, DRIVER, LEAVE_OUT = "install intel-driver-compiler-npu", "install intel-level-zero-npu", "--npu-buckets"
ALWAYS = ", ".join(doing.name.lower() for doing in Doing)
ONE_RELEASE, UPDATE, OPTION = "from one release", "update all three", "--npu-options"

MET: list[tuple[str, Doing, type[WorkerError], str]] = [
    ("to_shape was called on a dynamic shape.", COMPILING, ModelUnusable, DYNAMIC),  # 26357
    ("get_shape was called on a descriptor::Tensor with dynamic shape", COMPILING, ModelUnusable, DYNAMIC),  # 24619
    (
        "[IE::FrontEnd::importNetwork] Upper bounds are not specified for node 'x' (type 'Gather')",  # genai 3493
        COMPILING,
        ModelUnusable,
        DYNAMIC,
    ),
    (
        "Got non broadcastable dimensions pair : '9223372036854775807' and -9223372036854775808'",  # genai 3135
        COMPILING,
        ModelUnusable,
        DYNAMIC,
    ),
    ("Got negative shape dim bound: '-1'", COMPILING, ModelUnusable, DYNAMIC),  # notebooks 3425
    (
        "Channels count of input tensor shape and filter shape must be the same: -9223372036854775808",  # 29003
        COMPILING,
        ModelUnusable,
        DYNAMIC,
    ),
    (
        "Check 'check_sdpa_nodes(model)' failed at x.cpp:1: Failed to check SDPA nodes",
        COMPILING,
        ModelUnusable,
        DYNAMIC,
    ),
    (
        "L0 zeFenceHostSynchronize result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001 - device hung, reset, "
        "was removed, or driver update occurred",  # 31439
        RUNNING,
        DeviceLost,
        LOST,
    ),
    ("L0 zeCommandQueueExecuteCommandLists result: code 0x70000001", COMPILING, DeviceLost, LOST),
    (
        "Compilation failed. Level0 pfnCreate2 result: ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY, code 0x70000002",
        COMPILING,
        CompileFailed,
        "not enough memory",
    ),
    ("L0 pfnCreate2 result: ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", LOADING, CompileFailed, "not enough memory"),
    (
        "Failed to compile network. L0 createGraph result: ZE_RESULT_ERROR_UNSUPPORTED_VERSION, code 0x78000002. "
        "ERROR! MAPPED_INFERENCE_VERSION is NOT compatible with the ELF Expected: 6.1.0 vs received: 7.0.",  # driver 28
        COMPILING,
        DriverMismatch,
        ONE_RELEASE,
    ),
    ("L0 pfnCreate2 result: ZE_RESULT_ERROR_INVALID_NATIVE_BINARY", COMPILING, DriverMismatch, ONE_RELEASE),  # umd
    (
        "Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNSUPPORTED_VERSION, code 0x78000002. [NPU_DRV] Driver reports VCL "
        "Compiler API version mismatch. Expected version: 7.4, current version: 6.1",  # umd
        COMPILING,
        DriverMismatch,
        ONE_RELEASE,
    ),
    ("Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNSUPPORTED_VERSION", COMPILING, DriverMismatch, ONE_RELEASE),  # umd
    ("MAPPED_INFERENCE_VERSION is NOT compatible with the ELF", LOADING, CompileFailed, BLOB),
    ("L0 pfnCreate result: ZE_RESULT_ERROR_INVALID_NATIVE_BINARY", LOADING, CompileFailed, BLOB),  # umd
    ("Unexpected end of ORC input stream", LOADING, CompileFailed, BLOB),
    ("No backend registered during model import", LOADING, CompileFailed, BLOB),
    (
        'VCL compiler loading failed, aborting. Error: Cannot load library "libopenvino_intel_npu_compiler_loader.so"',
        COMPILING,
        NoCompiler,
        COMPILER,
    ),
    ("Cannot load library libopenvino_intel_npu_compiler_loader.so", COMPILING, NoCompiler, COMPILER),
    ("Cannot load library libopenvino_intel_npu_compiler.so", COMPILING, NoCompiler, COMPILER),
    (
        "Could not find an NPU device. The driver compiler requires a valid device to be present in the system.",
        COMPILING,
        NoUserDriver,
        DRIVER,
    ),
    ("Could not find a valid NPU device for the provided configuration.", COMPILING, NoUserDriver, DRIVER),
    ("No available devices", ASKING, NoUserDriver, DRIVER),
    ("No available backend", ASKING, NoUserDriver, DRIVER),
    (
        "[ERROR] Failed to open file '/dev/accel/accel0': Permission denied",  # driver 74
        ASKING,
        NoPermission,
        "usermod -aG render",
    ),
    (
        "Compilation failed. Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNSUPPORTED_FEATURE, code 0x78000003 - generic "
        "error code for unsupported features.",  # with releases older than OpenVINO's
        COMPILING,
        OldDriver,
        UPDATE,
    ),
    (
        "[NPU_VCL] The API version found in the serialized model is not supported. Found: 8.2. Expected: 8.1",
        COMPILING,
        OldDriver,
        UPDATE,
    ),
    (
        "Failed to compile network. L0 createGraph result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe. Cannot create "
        "MaxPool layer MaxPool_1 id:7 from unsupported opset: opset14",  # notebooks 2167
        COMPILING,
        OldDriver,
        UPDATE,
    ),
    (
        "Compilation failed. Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe. [NPU_DRV] Driver "
        "reports a failure from vclAllocatedExecutableCreate2, return code: 2147483646",  # umd
        COMPILING,
        CompileFailed,
        LEAVE_OUT,
    ),
    (
        "L0 pfnCreate2 result: ZE_RESULT_ERROR_INVALID_ARGUMENT, code 0x78000004. [NPU_VCL] Compiler returned msg: "
        "Compilation failed",  # 30663
        COMPILING,
        CompileFailed,
        LEAVE_OUT,
    ),
    ("L0 pfnCreate2 result: 0x78000004", COMPILING, CompileFailed, LEAVE_OUT),
    ("Failed Pass StopLocationVerifierPass on Operation", COMPILING, CompileFailed, LEAVE_OUT),
    ("Unsupported configuration key: NPU_TILES", COMPILING, DeviceUnavailable, OPTION),
    ("NotFound: Unsupported property NPU_TURBO by CPU plugin.", COMPILING, DeviceUnavailable, OPTION),
    ("'FAST' is not a valid PERFORMANCE_HINT option", COMPILING, DeviceUnavailable, OPTION),
    ("option 'NPU_X' is not supported for current configuration", COMPILING, DeviceUnavailable, OPTION),
    ("Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNKNOWN", COMPILING, CompileFailed, LEAVE_OUT),
    ("Level0 pfnCreate2 result: 0x7ffffffe", COMPILING, CompileFailed, LEAVE_OUT),
    ("L0 pfnCreate result: ZE_RESULT_ERROR_UNKNOWN, code 0x7ffffffe", LOADING, CompileFailed, BLOB),  # umd
    ("L0 pfnCreate result: code 0x7ffffffe", LOADING, CompileFailed, BLOB),
    ("zeCommandQueueExecuteCommandLists result: ZE_RESULT_ERROR_UNKNOWN", RUNNING, DeviceLost, LOST),  # 29930
    ("zeContextCreate result: 0x7ffffffe", ASKING, DeviceLost, LOST),
]


@pytest.mark.parametrize(("text", "doing", "error", "speaks_of"), MET)
def test_a_known_text_becomes_its_sentence(text: str, doing: Doing, error: type[WorkerError], speaks_of: str) -> None:
    layers = f"Exception from src/inference/src/cpp/core.cpp:117:\nException from src/x.cpp:5:\n{text}\n\n\n"
    explained = translate(layers, doing, "that", WorkerError)
    assert type(explained) is error
    assert speaks_of in str(explained)
    assert text in str(explained)
    assert "Exception from" not in str(explained)


def test_every_entry_has_been_met() -> None:
    assert {find_known(text, doing) for text, doing, _, _ in MET} == set(KNOWN)


def test_without_a_compiler_the_driver_says_the_same_as_an_old_one() -> None:
    text = "Compilation failed. Level0 pfnCreate2 result: ZE_RESULT_ERROR_UNSUPPORTED_FEATURE, code 0x78000003"
    explained = translate(text, COMPILING, "compiling 64 tokens", CompileFailed, has_compiler=False)
    assert type(explained) is NoCompiler
    assert COMPILER in str(explained)


def test_what_a_package_repairs_leaves_no_mark() -> None:
    for text, doing, error, _ in MET:
        known = find_known(text, doing)
        if (
            doing is COMPILING
            and issubclass(error, DeviceUnavailable)
            and known is not None
            and error is not NoCompiler
        ):
            assert not known.marks or issubclass(error, NoUserDriver), text


def test_the_contract_lists_every_text() -> None:
    spec = (Path(__file__).parents[3] / "SPEC.md").read_text()
    rows = [line.split(" | ") for line in spec.splitlines() if line.startswith("| `")]
    for known in KNOWN:
        while_ = ", ".join(doing.name.lower() for doing in Doing if doing in known.doing).replace(ALWAYS, "any time")
        [row] = [row for row in rows if f"`{known.text}`" in row[0] and row[1] == while_]
        assert f"`{known.error.__name__}`" in row[3], known
        assert row[4] == ("" if known.doing == {LOADING} else str(known.error.status)), known
        assert row[5].rstrip(" |") in ({"yes"} if known.error is DeviceLost else {"no", "compiled again"}), known


def test_an_unknown_text_is_passed_on_as_it_is() -> None:
    explained = translate("Exception from a.cpp:1:\nsomething new\n", RUNNING, "an inference", DeviceLost)
    assert type(explained) is DeviceLost
    assert str(explained) == "an inference on the NPU failed: something new"
    assert innermost("") == "no reason given"


needs_no_npu = pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")


@needs_no_npu
@pytest.mark.parametrize(("compiler", "error"), [("DRIVER", NoUserDriver), ("PLUGIN", NoCompiler)])
def test_the_real_plugin_without_device_or_compiler(tiny: ReadyModel, compiler: str, error: Any) -> None:
    order = Order(str(tiny.folder / "model.xml"), 32, {"NPU_COMPILER_TYPE": compiler}, "/nowhere/blob", 0)
    assert type(translate(compile_order(order).error, COMPILING, "compiling 32 tokens", WorkerError)) is error


@needs_no_npu
@pytest.mark.parametrize("name", ["NPU_DRIVER_VERSION", "FULL_DEVICE_NAME"])
def test_the_real_plugin_asked_about_no_device(name: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        ov.Core().get_property("NPU", name)
    assert find_known(str(raised.value), ASKING) is not None


@needs_no_npu
def test_the_real_plugin_given_garbage_for_a_compiled_model() -> None:
    with pytest.raises(RuntimeError) as raised:
        ov.Core().import_model(b"garbage" * 100, "NPU", {})
    known = find_known(str(raised.value), LOADING)
    assert known is not None
    assert BLOB in known.sentence


def test_the_proxy_refuses_options_of_the_npu(tiny: ReadyModel, proxy: ov.Core) -> None:
    graph = proxy.read_model(tiny.folder / "model.xml")
    make_static(graph, 32)
    with pytest.raises(RuntimeError) as raised:
        proxy.compile_model(graph, "NPU", {"NPU_TURBO": "YES"})
    assert type(translate(str(raised.value), COMPILING, "compiling", WorkerError)) is DeviceUnavailable
