"""Attackers as processes, and what they did to the broker."""

import subprocess
import sys
from pathlib import Path

from openvino_reranker.tests.processes import clean_environment


def attack(path: Path, name: str, seconds: float, *options: str) -> "subprocess.Popen[bytes]":
    """Start an attacker on the socket at ``path``; it ends by itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "openvino_reranker.tests.attacks.attacker", str(path), name, str(seconds), *options],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )


def peak_mb(pid: int) -> float:
    """Return the most memory a process has had resident, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
