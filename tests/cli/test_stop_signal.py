"""Signals: counted while a loop polls, and held back while modules are imported."""

import os
import select
import signal

import pytest
from openvino_reranker.daemon.stop_signal import StopSignal, hold_interrupts


def test_an_interrupt_comes_at_the_end_of_what_must_not_be_interrupted() -> None:
    done = []

    def work() -> None:
        with hold_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_signals_wake_the_poll_and_only_those_that_stop_are_counted() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    with StopSignal(also_wake=(signal.SIGCHLD,)) as stop:
        assert not select.select([stop], [], [], 0)[0]
        for number, count in ((signal.SIGCHLD, 0), (signal.SIGTERM, 1), (signal.SIGINT, 2)):
            os.kill(os.getpid(), number)
            assert select.select([stop], [], [], 5)[0]
            stop.clear()
            assert stop.count == count
    assert signal.getsignal(signal.SIGCHLD) is before
