"""A child that ends with its parent, however that ends (``PR_SET_PDEATHSIG``, prctl(2))."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing should be loaded any more


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends; end now if it has ended already.

    Args:
        parent: The parent's pid, as the parent itself knew it: it may die before this is called.
        number: The signal.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)
