"""Compiling in a child process: started, limited in time, and its exit interpreted."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from .compiler_process import Order, Outcome

Answer = TypeVar("Answer")


class CompilerDied(Exception):
    """The compiling process failed; the message says how it ended."""


def run_child(
    command: Sequence[str], model: Path, tokens: int, options: dict[str, str], output: Path, limit_s: float
) -> Outcome:
    """Compile one bucket in a child process; its own messages go to our standard error. Raises ``CompilerDied``."""
    return ask_child(command, Order(str(model), tokens, options, str(output), os.getpid()), Outcome, limit_s)


def ask_child(command: Sequence[str], order: msgspec.Struct, kind: type[Answer], limit_s: float) -> Answer:
    """Send an order to a child process as JSON and return its answer, even if it crashes after it.

    Args:
        command: The child.
        order: What it reads from standard input.
        kind: The type of what it writes to standard output.
        limit_s: How long it may take, s.

    Raises:
        CompilerDied: It was killed, aborted, took too long, or gave no valid answer.
    """
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(order), stdout=subprocess.PIPE, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise CompilerDied(f"the compiler had not finished after {limit_s:g} s and was stopped") from None
    except OSError as error:
        raise CompilerDied(f"the compiler cannot be started: {error}") from error
    try:
        return msgspec.json.decode(done.stdout, type=kind)
    except msgspec.DecodeError:
        pass
    if done.returncode < 0:
        raise CompilerDied(f"the compiler's process was killed by {_signal_name(-done.returncode)}")
    if done.returncode:
        raise CompilerDied(f"the compiler's process ended with status {done.returncode}")
    raise CompilerDied(f"the compiler's process answered {done.stdout[:80]!r}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
