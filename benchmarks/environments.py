"""An environment for each peer: what they want of each other's packages does not go together."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
#: Kept between runs.
CACHE = HERE.parent / ".cache" / "benchmarks"


def python_of(peer: str) -> Path:
    """Return the Python of a peer's environment, made on first use from ``requirements/PEER.txt``.

    Raises:
        CalledProcessError: pip failed; it has said why.
    """
    requirements = HERE / "requirements" / f"{peer}.txt"
    wanted = hashlib.sha256((sys.version + requirements.read_text()).encode()).hexdigest()[:12]
    folder = CACHE / "environments" / f"{peer}-{wanted}"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        print(f"installing {peer}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = (python, "-m", "pip")
        install = (*pip, "install", "--quiet", "--disable-pip-version-check")
        torch = [line for line in requirements.read_text().splitlines() if line.startswith("torch==")]
        if torch:  # first and alone: with others to please, pip may take another build of it
            subprocess.run([*install, *torch], check=True)
        subprocess.run([*install, "--requirement", requirements], check=True)
        if torch:  # comes along in a build for another torch, and breaks it; nobody here looks at pictures
            subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision"], check=True)
        (folder / ".complete").touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Return what is installed in an environment, by name."""
    done = subprocess.run(
        [python, "-m", "pip", "freeze", "--disable-pip-version-check"], capture_output=True, text=True, check=True
    )
    return dict(line.split("==", 1) for line in done.stdout.splitlines() if "==" in line)
