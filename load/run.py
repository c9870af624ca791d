"""A run: groups of callers, each in a process of its own, starting together and asking one request at a time."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from ..client.protocol import RequestClass
from .target import Asked, Caller, Target
from .texts import chosen, requests


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
            raise ValueError(f"{text!r}: after the colon stands 'interactive' or 'bulk'")
        return cls(int(callers), int(passages), "bulk" if priority == "bulk" else "interactive")

    def __str__(self) -> str:
        return f"{self.callers}x{self.passages}" + (":bulk" if self.priority == "bulk" else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """One answered request: by which group, when it ended (s from the common start), and what it was."""

    group: Group
    ended: float
    asked: Asked


def run_load(target: Target, groups: list[Group], numbers: range, on_answer: Callable[[Seen], None]) -> float:
    """Let every caller of every group send its requests of these numbers; return the time to the last answer, s.

    One pair before the start is not counted: it opens connections.
    """
    context = multiprocessing.get_context("spawn")
    members = [group for group in groups for _ in range(group.callers)]
    go = context.Event()
    pipes: list[Connection] = []
    processes = []
    try:
        for seed, group in enumerate(members):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_call, args=(target, group, seed, numbers, go, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            pipe.recv()  # it is warm
        started = time.perf_counter()
        go.set()
        for place, asked in _answers(pipes):
            on_answer(Seen(members[place], time.perf_counter() - started, asked))
        return time.perf_counter() - started
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answers(pipes: list[Connection]) -> Iterator[tuple[int, Asked]]:
    places = {id(pipe): place for place, pipe in enumerate(pipes)}
    open_pipes: list[Any] = list(pipes)
    while open_pipes:
        ready: list[Any] = wait(open_pipes)
        for pipe in ready:
            try:
                yield places[id(pipe)], pipe.recv()
            except EOFError:
                open_pipes.remove(pipe)


def _call(target: Target, group: Group, seed: int, numbers: range, go: Any, results: Connection) -> None:
    """Be one caller, in a process of its own."""
    caller = Caller(target, group.priority)
    opening, passages = next(requests(1, seed))
    caller.ask(opening, passages)
    results.send("warm")
    go.wait()
    for question, texts in chosen(group.passages, seed, numbers):
        results.send(caller.ask(question, texts))
    caller.close()
    results.close()
