import sys
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiler import CompilerDied, run_child
from openvino_reranker.npu_worker.npu.compiler_process import Outcome
from openvino_reranker.npu_worker.npu.platform import Platform
from openvino_reranker.tests.npu_worker.conftest import BENT
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT


def compile_bent(how: str, tmp_path: Path, limit_s: float = 30) -> Outcome:
    return run_child([sys.executable, str(BENT), how], tmp_path / "model.xml", 32, {}, tmp_path / "out", limit_s)


@pytest.mark.parametrize(
    ("how", "limit_s", "says"),
    [
        ("abort", 30, "SIGABRT"),
        ("hang", 1.5, r"not finished after 1\.5 s"),
        ("status", 30, "ended with status 3"),
        ("nonsense", 30, "what"),
    ],
)
def test_a_compiler_that_ends_badly_ends_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, limit_s: float, says: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / ".links"))
    with pytest.raises(CompilerDied, match=says):
        compile_bent(how, tmp_path, limit_s)


def test_a_compiler_that_crashes_when_all_is_done_has_done_it(
    tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / ".links"))
    command = [sys.executable, str(BENT), "crash-at-exit"]
    outcome = run_child(command, tiny.folder / "model.xml", 32, EXACT, tmp_path / "out", 150)
    assert outcome.error == ""
    assert (tmp_path / "out").stat().st_size > 1000


def test_a_command_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CompilerDied, match="cannot be started"):
        run_child([str(tmp_path / "none")], tmp_path, 32, {}, tmp_path / "out", 5)


def test_the_real_child_compiles_and_exports(tiny: ReadyModel, tmp_path: Path) -> None:
    command = Platform().compile_command()
    outcome = run_child(command, tiny.folder / "model.xml", 32, EXACT, tmp_path / "out", 150)
    assert (outcome.error, outcome.not_exported) == ("", "")
    assert (tmp_path / "out").stat().st_size > 1000


def test_the_real_child_says_why_it_cannot(tmp_path: Path) -> None:
    outcome = run_child(Platform().compile_command(), tmp_path / "no.xml", 32, EXACT, tmp_path / "out", 150)
    assert "no.xml" in outcome.error


def test_what_the_plugin_says_is_not_taken_for_the_answer(
    tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OV_NPU_LOG_LEVEL", "LOG_WARNING")
    outcome = run_child(Platform().compile_command(), tiny.folder / "model.xml", 32, EXACT, tmp_path / "out", 150)
    assert outcome.error == ""
    told = capfd.readouterr()
    assert told.out == ""
    assert "[WARNING]" in told.err  # the plugin did speak


def test_the_child_reports_to_nobody(tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting = tmp_path / "site" / "openvino_telemetry"
    reporting.mkdir(parents=True)
    (reporting / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nclass Telemetry: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    run_child(Platform().compile_command(), tiny.folder / "model.xml", 32, EXACT, tmp_path / "out", 150)
    assert not (tmp_path / "imported").exists()
