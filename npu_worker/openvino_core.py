"""OpenVINO's runtime for the CPU and the GPU: one for the process, which stays."""

import functools

import openvino as ov


@functools.cache
def shared_core() -> ov.Core:
    """Return the process's one ``Core``; its plugins stay loaded until the process ends.

    OpenVINO's CPU plugin gives the thread that loads it another stack for signals, and when it is unloaded restores
    the one that was there before. Of two plugins that are unloaded in the order in which they were loaded, the second
    restores the first one's stack, which is freed by then: the next signal ends the process (SIGSEGV).
    """
    return ov.Core()
