"""Which weights run where nobody says which: int8 where the CPU has instructions for it, and can be made."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from openvino_reranker.cli.main import main
from openvino_reranker.cli.model_choice import find_model, weight_precisions
from openvino_reranker.cli.settings import SettingError, Settings, read_settings
from openvino_reranker.npu_worker.errors import ModelUnusable
from openvino_reranker.npu_worker.model import cpu_precision
from openvino_reranker.npu_worker.model.cpu_precision import preferred_precisions, read_cpu_flags
from openvino_reranker.npu_worker.model.pull import pull

AVX2 = frozenset({"avx2", "fma", "avx"})


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that multiplies bytes fast, whatever this one does."""
    monkeypatch.setattr(cpu_precision, "read_cpu_flags", lambda: AVX2 | {"avx_vnni"})


@pytest.fixture
def settings(cache: Path, folder: Path) -> Settings:
    return replace(read_settings(argparse.Namespace(), {}), device="CPU", cache=cache, model=str(folder))


@pytest.mark.parametrize("flag", ["avx_vnni", "avx512_vnni", "amx_int8"])
def test_int8_where_the_cpu_is_fast_at_it(flag: str) -> None:
    assert preferred_precisions("CPU", AVX2 | {flag}) == ("int8", "fp16")
    assert preferred_precisions("NPU", AVX2 | {flag}) == ("fp16",)
    assert preferred_precisions("GPU", AVX2 | {flag}) == ("fp16",)


def test_fp16_where_it_is_not() -> None:
    assert preferred_precisions("CPU", AVX2) == ("fp16",)
    assert preferred_precisions("CPU", frozenset()) == ("fp16",)


def test_the_flags_of_this_cpu_and_of_a_machine_without_any(tmp_path: Path) -> None:
    assert "sse2" in read_cpu_flags() or "asimd" in Path("/proc/cpuinfo").read_text()
    cpuinfo = tmp_path / "cpuinfo"
    assert read_cpu_flags(cpuinfo) == frozenset()
    cpuinfo.write_text("processor\t: 0\n")
    assert read_cpu_flags(cpuinfo) == frozenset()
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert read_cpu_flags(cpuinfo) == {"fpu", "avx_vnni"}


@pytest.mark.usefixtures("vnni")
def test_what_is_ready_runs_the_best_first(settings: Settings, cache: Path, folder: Path) -> None:
    fp16 = pull(cache, str(folder), "fp16", print)
    assert find_model(settings) == fp16.folder
    int8 = pull(cache, str(folder), "int8", print)
    assert find_model(settings) == int8.folder
    assert find_model(replace(settings, precision="fp16")) == fp16.folder
    assert find_model(replace(settings, device="NPU")) == fp16.folder


@pytest.mark.usefixtures("vnni")
def test_what_is_missing_is_named(settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match=r"\(int8 or fp16\).*pull [^ ]* --device CPU'$"):
        find_model(settings)
    with pytest.raises(ModelUnusable, match=r"\(fp16\).*pull .* --precision fp16 --device CPU'$"):
        find_model(replace(settings, precision="fp16"))


def run_pull(cache: Path, *arguments: str) -> int:
    return main(["pull", "--cache", str(cache), "--device", "CPU", *arguments])


@pytest.mark.usefixtures("vnni")
def test_pull_makes_what_will_run(cache: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pull(cache, str(folder)) == 0
    out = capsys.readouterr()
    assert "(int8)  int8" in out.out
    assert "quantising: 100 %" in out.err
    assert run_pull(cache, "--exact", str(folder)) == 0
    assert "  fp16  " in capsys.readouterr().out


@pytest.mark.usefixtures("vnni")
def test_without_nncf_pull_says_so_and_goes_on(
    cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cpu_precision, "can_quantize", lambda: False)
    assert run_pull(cache, str(folder)) == 0
    out = capsys.readouterr()
    assert "pip install 'openvino-reranker[int8]'" in out.err
    assert "  fp16  " in out.out


def test_exact_is_both_settings_in_one_word() -> None:
    exact = argparse.Namespace(exact=True)
    environ = {"OPENVINO_RERANKER_PRECISION": "int8", "OPENVINO_RERANKER_INFERENCE_PRECISION": "bf16"}
    settings = read_settings(exact, environ)
    assert (settings.precision, settings.inference_precision) == ("fp16", "f32")
    assert weight_precisions(settings) == ("fp16",)
    with pytest.raises(SettingError, match="--exact means fp16"):
        read_settings(argparse.Namespace(exact=True, setting_precision="int8"), {})
    assert read_settings(argparse.Namespace(exact=True, setting_precision="fp16"), {}).precision == "fp16"


def test_by_default_the_machine_decides() -> None:
    settings = read_settings(argparse.Namespace(exact=False), {})
    assert (settings.precision, settings.inference_precision) == ("auto", "auto")
