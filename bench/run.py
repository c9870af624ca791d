"""A run: groups of callers, each in a process of its own, starting together and asking one request at a time."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from ..protocol.message import RequestClass
from .target import Answer, Caller, Target
from .texts import Workload


@dataclass(frozen=True, slots=True)
class Group:
    """Callers of one kind: how many, how many passages a request, and how urgent."""

    callers: int
    passages: int
    priority: RequestClass = "interactive"

    @classmethod
    def parse(cls, text: str) -> "Group":
        """Read ``8x20`` (eight callers, twenty passages a request) or ``1x1000:bulk``.

        Raises:
            ValueError: It is neither.
        """
        size, _, priority = text.partition(":")
        callers, times, passages = size.partition("x")
        if not (times and callers.isdecimal() and passages.isdecimal() and int(callers) and int(passages)):
            raise ValueError(f"{text!r} is not CALLERSxPASSAGES, such as 8x20 or 1x1000:bulk")
        if priority not in ("", "interactive", "bulk"):
            raise ValueError(f"{text!r}: the class after the colon must be 'interactive' or 'bulk'")
        return cls(int(callers), int(passages), "bulk" if priority == "bulk" else "interactive")

    def __str__(self) -> str:
        return f"{self.callers}x{self.passages}" + (":bulk" if self.priority == "bulk" else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """One answered request: by which group, when it ended (s from the common start), and what it was."""

    group: Group
    ended: float
    answer: Answer


def run_load(
    target: Target, groups: list[Group], workload: Workload, numbers: range, on_answer: Callable[[Seen], None]
) -> float:
    """Let every caller of every group send its requests of these numbers; return the time to the last answer, s.

    One pair before the start is not counted: it opens connections. Requests that a caller did not send because it died
    are answered ``lost``.
    """
    context = multiprocessing.get_context("spawn")
    members = [group for group in groups for _ in range(group.callers)]
    pipes: list[Connection] = []
    processes = []
    try:
        for seed, group in enumerate(members):
            ours, theirs = context.Pipe()
            process = context.Process(target=_call, args=(target, group, workload, seed, numbers, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            _receive(pipe)  # it is warm, or dead
        started = time.perf_counter()
        for pipe in pipes:
            with contextlib.suppress(OSError):  # it died; not an Event, whose set() would wait for the dead
                pipe.send("go")
        for place, answer in _answers(pipes, len(numbers)):
            on_answer(Seen(members[place], time.perf_counter() - started, answer))
        return time.perf_counter() - started
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answers(pipes: list[Connection], count: int) -> Iterator[tuple[int, Answer]]:
    """Yield ``count`` answers of each caller, with its place, as they come."""
    missing = dict.fromkeys(pipes, count)
    while missing:
        ready: list[Any] = wait(list(missing))
        for pipe in ready:
            place = pipes.index(pipe)
            answer = _receive(pipe)
            if answer is None:
                for _ in range(missing.pop(pipe)):
                    yield place, Answer(0.0, error="lost")
                continue
            yield place, answer
            missing[pipe] -= 1
            if not missing[pipe]:
                del missing[pipe]


def _receive(pipe: Connection) -> Any:
    """Return what a caller sends next; None if it died."""
    try:
        return pipe.recv()
    except (EOFError, OSError):  # before a message, or in the middle of one
        return None


def _call(target: Target, group: Group, workload: Workload, seed: int, numbers: range, parent: Connection) -> None:
    """Be one caller, in a process of its own."""
    caller = Caller(target, group.priority)
    caller.ask(*workload.opening(seed))
    parent.send("warm")
    parent.recv()
    for question, texts in workload.chosen(group.passages, seed, numbers):
        parent.send(caller.ask(question, texts))
    caller.close()
    parent.close()
