from pathlib import Path

import openvino as ov
import pytest
from openvino_reranker.npu_worker.npu.plugin_options import (
    COMPILER_LIBRARIES,
    openvino_libraries,
    read_options,
    split_supported,
    wanted_options,
)
from openvino_reranker.npu_worker.npu.settings import NpuSettings


def test_options_are_read() -> None:
    text = "NPU_TILES=2, NPU_COMPILATION_MODE_PARAMS=optimization-level=2 performance-hint-override=latency,LOG_LEVEL="
    assert read_options(text) == {
        "NPU_TILES": "2",
        "NPU_COMPILATION_MODE_PARAMS": "optimization-level=2 performance-hint-override=latency",
        "LOG_LEVEL": "",
    }
    assert read_options("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "NPU_USE_NPUW=YES",
        "npu_use_npuw=YES",
        " NPU_USE_NPUW =YES",
        "NPU_TURBO=YES,NPU_USE_NPUW=YES",
        "NPUW_DEVICES=CPU",
        "NPUW_ONLINE_PIPELINE=NONE",
        "NPU_CREATE_EXECUTOR=0",
        "MULTI_DEVICE_PRIORITIES=CPU",
        "DEVICE_ID=CPU",
        "DEVICE=CPU",
        "CACHE_DIR=/tmp",
        "PROXY_CONFIGURATION_ALIAS=NPU",
        "NPU_TURBO",
        "=YES",
    ],
)
def test_what_could_move_the_work_off_the_npu_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NPU"):
        read_options(text)


def test_the_drivers_compiler_is_asked_for_unless_openvino_has_its_own(tmp_path: Path) -> None:
    settings = NpuSettings(tmp_path)
    assert wanted_options(settings, tmp_path) == {"PERFORMANCE_HINT": "THROUGHPUT", "NPU_COMPILER_TYPE": "DRIVER"}
    for library in COMPILER_LIBRARIES:
        (tmp_path / library).touch()
        assert wanted_options(settings, tmp_path) == {"PERFORMANCE_HINT": "THROUGHPUT"}
        (tmp_path / library).unlink()


def test_settings_become_options_and_a_persons_own_win(tmp_path: Path) -> None:
    own = {"NPU_TILES": "4", "NPU_COMPILER_TYPE": "PLUGIN"}
    settings = NpuSettings(tmp_path, hint="latency", options=own)
    assert wanted_options(settings, tmp_path) == {
        "PERFORMANCE_HINT": "LATENCY",
        "NPU_TILES": "4",
        "NPU_COMPILER_TYPE": "PLUGIN",
    }


def test_what_the_plugin_does_not_know_is_left_out() -> None:
    assert split_supported({"A": "1", "B": "2", "C": "3"}, ["B"]) == ({"B": "2"}, ["A", "C"])


def test_the_libraries_are_those_of_openvino() -> None:
    assert openvino_libraries() == Path(ov.__file__).parent / "libs"
    assert (openvino_libraries() / "libopenvino_intel_npu_plugin.so").is_file()
