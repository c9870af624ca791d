"""The compile check on stand-in A: its shape and its failures. Whether a compiler takes the model, only one can say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.doctor import compile_check
from openvino_reranker.npu_worker.doctor.compile_check import GENERATIONS, OPTIONS, as_rows, check, main
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.sysfs import find_npu
from openvino_reranker.tests.npu_worker.conftest import ROOT
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".links"))


def test_every_bucket_is_compiled_for_every_generation(tiny: ReadyModel) -> None:
    results = check([tiny.folder], ["3720", "4000"], EXACT, (32, 64))
    assert [(each.generation, each.tokens) for each in results] == [
        (generation, tokens) for generation in ("3720", "4000") for tokens in (32, 64)
    ]
    for each in results:
        assert (each.error, each.precision) == ("", "fp16")
        assert (each.megabytes or 0) > 0.001
    assert as_rows(results)[0].startswith("| tiny-reranker | fp16 | 3720 | 32 | ")


def test_a_compilation_that_takes_too_long_is_one_failure(tiny: ReadyModel) -> None:
    [result] = check([tiny.folder], ["4000"], EXACT, (64,), limit_s=0.1)
    assert result.error == "not done after 0.1 s"


@pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")
def test_without_a_compiler_it_fails_and_says_so(
    tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "npu-compile"
    monkeypatch.setattr(
        sys, "argv", ["compile_check", str(tiny.folder), "--generations", GENERATIONS[1], "--out", str(out)]
    )
    assert main() == 1
    [result] = json.loads(out.with_suffix(".json").read_text())["compiled"]
    assert "VCL compiler loading failed" in result["error"]
    assert "VCL compiler loading failed" in out.with_suffix(".md").read_text()


def test_what_it_imports_is_to_be_had_on_windows() -> None:
    assert OPTIONS["NPU_COMPILER_TYPE"] == "PLUGIN"
    ours = "(m.__file__ for n, m in list(sys.modules.items()) if n.startswith('openvino_reranker.'))"
    code = f"import sys; import {compile_check.__name__}; print(*{ours})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert len(loaded) > 6
    for file in loaded:
        words = Path(file).read_text().split() if file != "None" else []
        assert not {"fcntl", "pwd", "grp", "resource", "ctypes"} & set(words), f"{file} needs POSIX"
