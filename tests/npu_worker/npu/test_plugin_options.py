from pathlib import Path

import openvino as ov
import pytest
from openvino_reranker.npu_worker.npu.platform import Platform
from openvino_reranker.npu_worker.npu.plugin_options import (
    PLUGIN_COMPILERS,
    default_options,
    openvino_libraries,
    optimal_requests,
    read_options,
    split_supported,
)
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.npu_worker.npu.start import choose_options


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
    assert default_options("latency", tmp_path)["NPU_COMPILER_TYPE"] == "DRIVER"
    for library in PLUGIN_COMPILERS:
        (tmp_path / library).touch()
        assert "NPU_COMPILER_TYPE" not in default_options("latency", tmp_path)
        (tmp_path / library).unlink()


class Core:
    """Knows three properties."""

    def get_property(self, device: str, name: str) -> list[str]:
        return ["PERFORMANCE_HINT", "NPU_COMPILER_TYPE", "NPU_BYPASS_UMD_CACHING"]


def test_a_persons_own_options_win_and_reach_the_plugin_whether_it_lists_them_or_not(tmp_path: Path) -> None:
    own = {"NPU_BATCH_MODE": "COMPILER", "NPU_COMPILER_TYPE": "PLUGIN"}
    settings = NpuSettings(tmp_path, hint="latency", options=own)
    assert choose_options(Core(), settings, Platform()) == {
        "PERFORMANCE_HINT": "LATENCY",
        "NPU_COMPILER_TYPE": "PLUGIN",
        "NPU_BYPASS_UMD_CACHING": "YES",  # but not NPU_DISABLE_IDLE_MEMORY_PRUNING, which this plugin does not list
        "NPU_BATCH_MODE": "COMPILER",
    }


@pytest.mark.parametrize(
    ("architecture", "hint", "requests"),
    [("3720", "THROUGHPUT", 4), ("4000", "throughput", 8), ("5010", "THROUGHPUT", 8), ("4000", "LATENCY", 2)],
)
def test_rows_in_flight_follow_the_generation(architecture: str, hint: str, requests: int) -> None:
    assert optimal_requests(architecture, hint) == requests


def test_what_the_plugin_does_not_know_is_left_out() -> None:
    assert split_supported({"A": "1", "B": "2", "C": "3"}, ["B"]) == ({"B": "2"}, ["A", "C"])


def test_the_libraries_are_those_of_openvino() -> None:
    assert openvino_libraries() == Path(ov.__file__).parent / "libs"
    assert (openvino_libraries() / "libopenvino_intel_npu_plugin.so").is_file()
