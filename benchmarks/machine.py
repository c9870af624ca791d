"""What machine this is: without that, a rate means nothing."""

import os
import platform
from pathlib import Path

#: Instructions that decide which arithmetic is fast, by the flags of /proc/cpuinfo.
_MATTER = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def describe() -> dict[str, object]:
    """Return the processor, its cores and the instructions that matter, memory, kernel and Python."""
    cpu = Path("/proc/cpuinfo").read_text()
    memory = Path("/proc/meminfo").read_text()
    flags = _value(cpu, "flags").split()
    return {
        "cpu": _value(cpu, "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [name for name in _MATTER if name in flags],
        "memory_gb": round(int(_value(memory, "MemTotal").split()[0]) / 1024**2, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _value(text: str, name: str) -> str:
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name)), "unknown")
