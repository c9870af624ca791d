"""What is done to the running service: each component killed, stopped, hung, asked to end; attacks on its socket."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openvino_reranker.client import Reranker, RerankError
from openvino_reranker.tests.attacks.attacker import ATTACKS
from openvino_reranker.tests.attacks.launch import attack
from openvino_reranker.tests.processes import Service

COMPONENTS = ("broker", "worker", "http")
#: How long an attacker goes on, s.
ATTACK_S = 8.0
#: How long a process is stopped that goes on by itself, s: less than the watchdog waits.
STOP_S = 5.0


@dataclass(frozen=True)
class Fault:
    """``inject`` returns when the fault is over, or when nothing more is done about it."""

    name: str
    inject: "Callable[[Victim], None]"


class Victim:
    """The running service as faults see it."""

    def __init__(self, service: Service, hung: Path) -> None:
        self.service = service
        self.hung = hung

    def pid(self, component: str, timeout: float = 30.0) -> int:
        """Return the process of a component, as the kernel knows it; wait for one to be started."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for child in _children(self.service.process.pid):
                if component in _arguments(child):
                    return child
            time.sleep(0.02)
        raise AssertionError(f"no {component} was started within {timeout:g} s")

    def signal(self, component: str, number: signal.Signals) -> int:
        pid = self.pid(component)
        os.kill(pid, number)
        return pid


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _kill(component: str) -> Fault:
    return Fault(f"{component} killed", lambda victim: _ignore(victim.signal(component, signal.SIGKILL)))


def _terminate(component: str) -> Fault:
    return Fault(f"{component} asked to end", lambda victim: _ignore(victim.signal(component, signal.SIGTERM)))


def _stop_for_good(component: str) -> Fault:
    return Fault(f"{component} stopped for good", lambda victim: _ignore(victim.signal(component, signal.SIGSTOP)))


def _stop(component: str) -> Fault:
    def inject(victim: Victim) -> None:
        pid = victim.signal(component, signal.SIGSTOP)
        time.sleep(STOP_S)
        os.kill(pid, signal.SIGCONT)

    return Fault(f"{component} stopped for {STOP_S:g} s", inject)


def _kill_all_at_once(victim: Victim) -> None:
    for component in COMPONENTS:
        victim.signal(component, signal.SIGKILL)


def _stop_all(victim: Victim) -> None:
    """As when a laptop sleeps or a container is paused."""
    pids = [victim.signal(component, signal.SIGSTOP) for component in COMPONENTS]
    time.sleep(STOP_S)
    for pid in random.sample(pids, len(pids)):
        os.kill(pid, signal.SIGCONT)


def _hang_device(victim: Victim) -> None:
    """Let the device hold its next run for good; over when the worker has ended itself."""
    stuck = victim.pid("worker")
    victim.hung.unlink(missing_ok=True)
    with Reranker(victim.service.socket) as reranker:
        asked = threading.Thread(target=_ask_to_hang, args=(reranker,))
        asked.start()
        while victim.pid("worker") == stuck:
            time.sleep(0.1)
        asked.join()


def _ask_to_hang(reranker: Reranker) -> None:
    try:
        reranker.rerank("people", [f"HANG {random.random()}"], timeout=50)
    except RerankError as error:
        print(f"        the request that hung the device: {error!r}", flush=True)


def _attack(*names: str) -> Fault:
    def inject(victim: Victim) -> None:
        attackers: list[subprocess.Popen[bytes]] = [
            attack(victim.service.socket, name, ATTACK_S, "--full") for name in names
        ]
        for each in attackers:
            try:
                each.wait(ATTACK_S + 30)
            except subprocess.TimeoutExpired:  # a machine that has no time for it
                print(f"        {each.args!r} did not end by itself", flush=True)
                each.kill()
                each.wait()

    return Fault("attack: " + ", ".join(names), inject)


def _ignore(_value: object) -> None:
    pass


#: Every kind of fault, and how often it is chosen.
FAULTS: list[tuple[Fault, float]] = [
    *((make(component), 1.0) for component in COMPONENTS for make in (_kill, _terminate, _stop, _stop_for_good)),
    (Fault("all killed at once", _kill_all_at_once), 1.0),
    (Fault(f"all stopped for {STOP_S:g} s", _stop_all), 1.0),
    (Fault("device hung", _hang_device), 1.0),
    *((_attack(name), 6 / len(ATTACKS)) for name in ATTACKS),
]


def choose(chance: random.Random) -> Fault:
    """Return a fault at random."""
    faults, weights = zip(*FAULTS, strict=True)
    (chosen,) = chance.choices(faults, weights)
    assert isinstance(chosen, Fault)
    return chosen
