"""Environments of their own for tests whose packages do not belong into the development environment."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from openvino_reranker.tests.processes import ROOT

#: Kept between runs; a change of the requirements makes another one.
FOLDER = ROOT / ".cache" / "environments"


def python_with(requirements: Path, *without_dependencies: str) -> Path:
    """Return the Python of an environment that has what a file names.

    Args:
        requirements: The file, with every version pinned.
        without_dependencies: Packages to install as well, pinned, but not what they want.
    """
    wanted = "\n".join([sys.version, requirements.read_text(), *without_dependencies])
    folder = FOLDER / f"{requirements.stem}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / ".complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    # Nothing is compiled to bytecode that is never imported: that takes longer than the rest.
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    install = (*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile")
    _run(*install, "--requirement", str(requirements))
    if without_dependencies:
        _run(*install, *without_dependencies)
    (folder / ".complete").touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
