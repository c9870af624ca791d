"""An environment of its own for each client that is tried, kept between runs, with every version pinned."""

import hashlib
import subprocess
import sys
from pathlib import Path

from openvino_reranker.tests.processes import ROOT, clean_environment

REQUIREMENTS = Path(__file__).with_name("requirements")


def environment(name: str) -> Path:
    """Return the Python of the environment ``requirements/NAME.txt``, made if it is not there yet."""
    requirements = REQUIREMENTS / f"{name}.txt"
    version = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / "clients" / f"{name}-{version}"
    complete = folder / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--requirement", requirements], check=True)
        complete.touch()
    return folder / "bin" / "python"


def run_script(python: Path, script: str, *arguments: str) -> str:
    """Run a script with one of these Pythons, without this package in reach; return what it prints."""
    environ = clean_environment()
    del environ["PYTHONPATH"]
    done = subprocess.run(
        [python, "-c", script, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
