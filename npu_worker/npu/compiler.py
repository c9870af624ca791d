"""Compiling in a child process: started, limited in time, and its end understood."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .compiler_process import Order, Outcome


class CompilerDied(Exception):
    """The compiling process did not end in order; says how it ended."""


def run_child(
    command: Sequence[str], model: Path, tokens: int, options: dict[str, str], output: Path, limit_s: float
) -> Outcome:
    """Compile one bucket in a child process; its own messages go to our standard error.

    Raises:
        CompilerDied: It was killed, aborted, took too long, or answered nonsense.
    """
    order = Order(str(model), tokens, options, str(output), os.getpid())
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(order), stdout=subprocess.PIPE, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise CompilerDied(f"the compiler was not done after {limit_s:g} s and was stopped") from None
    except OSError as error:
        raise CompilerDied(f"the compiler cannot be started: {error}") from error
    if done.returncode < 0:
        raise CompilerDied(f"the compiler's process was ended by {_signal_name(-done.returncode)}")
    if done.returncode:
        raise CompilerDied(f"the compiler's process ended with status {done.returncode}")
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError:
        raise CompilerDied(f"the compiler's process answered {done.stdout[:80]!r}") from None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
