"""Faults and attacks at random, for as long as you like: ``python -m openvino_reranker.tests.soak [MINUTES]``.

Eight callers, four with the Python client and four over HTTP, keep a running ``serve`` busy and check each answer.
Meanwhile its processes are killed, stopped and hung, and attackers are let loose on its socket. Beside it the
broker's decisions are simulated over a million requests. Exit status 0: nothing was lost, nothing was wrong, the
service came back after every fault, and the simulation broke no law.
"""

import argparse
import concurrent.futures
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.tests.attacks.launch import peak_mb
from openvino_reranker.tests.broker.world import HAPPENINGS, run_world
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.processes import RuntimeFolder, Service, clean_environment, injected
from openvino_reranker.tests.soak.faults import Fault, Victim, choose
from openvino_reranker.tests.soak.questions import write_answers
from openvino_reranker.tests.soak.tally import Tally

CALLERS_OF_EACH_KIND = 4
#: How long the service may take to come back after a fault, s.
RECOVERY_S = 60.0
WORLD_REQUESTS = 10_000


class NotRecovered(Exception):
    """The service did not come back."""


class Soak:
    """One run against one service."""

    def __init__(self, service: Service, folder: Path, seed: int) -> None:
        self.tally = Tally()
        self.broker_peak_mb = 0.0
        self._service = service
        self._victim = Victim(service, folder / "hung")
        self._began = time.monotonic()
        answers = folder / "answers.json"
        write_answers(answers, seed)
        asked = [("python", str(service.socket)), ("http", service.url)] * CALLERS_OF_EACH_KIND
        self._callers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "openvino_reranker.tests.soak.caller",
                    kind,
                    address,
                    answers,
                    str(seed + number),
                ],
                env=clean_environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, (kind, address) in enumerate(asked, 1)
        ]
        self._readers = [
            threading.Thread(target=self._read, args=(f"{kind} caller {number}", caller))
            for number, ((kind, _), caller) in enumerate(zip(asked, self._callers, strict=True), 1)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, caller: "subprocess.Popen[str]") -> None:
        assert caller.stdout is not None
        for line in caller.stdout:
            if not line.endswith("\n"):  # the caller was ended while it wrote
                break
            outcome, took = line.split()
            self.tally.note(name, outcome, float(took))
            if outcome in ("wrong", "lost"):
                self.say(f"{name}: {outcome} after {took} s")

    def say(self, text: str) -> None:
        seconds = int(time.monotonic() - self._began)
        print(f"[{seconds // 60:3}:{seconds % 60:02}] {text}", flush=True)

    def inject(self, fault: Fault) -> None:
        """Inject a fault and wait until every caller has right answers again."""
        self._note_peak()
        self.tally.enter(fault.name)
        fault.inject(self._victim)
        took = self._wait_for_right_answers()
        self._note_peak()
        self.tally.recovered(took)
        self.say(f"{fault.name}: right answers for all {took:.1f} s later")

    def rest(self, seconds: float) -> None:
        """Leave the service in peace."""
        self.tally.enter("calm")
        self._wait_for_right_answers()
        time.sleep(seconds)

    def _wait_for_right_answers(self) -> float:
        began = time.monotonic()
        before = self.tally.right()
        while True:
            now = self.tally.right()
            if len(now) == len(self._callers) and all(now[each] >= before.get(each, 0) + 2 for each in now):
                return time.monotonic() - began
            if time.monotonic() > began + RECOVERY_S:
                raise NotRecovered(f"no right answers for everybody within {RECOVERY_S:g} s: {before}, {now}")
            if self._service.process.poll() is not None:
                raise NotRecovered("the service ended")
            time.sleep(0.05)

    def _note_peak(self) -> None:
        self.broker_peak_mb = max(self.broker_peak_mb, peak_mb(self._victim.pid("broker")))

    def end(self) -> None:
        """Let the callers finish what they asked last."""
        for caller in self._callers:
            caller.terminate()
        for caller, reader in zip(self._callers, self._readers, strict=True):
            caller.wait()
            reader.join()
            assert caller.stdout is not None
            caller.stdout.close()


def soak(minutes: float, seed: int) -> bool:
    """Run; return whether all went as it must."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="orr-soak-") as name, RuntimeFolder() as runtime:
        folder = Path(name)
        model = pull(folder / "cache", str(tiny_bert.write_folder(folder / "tiny")), "fp16", lambda _: None)
        hangs = injected(hang_once=folder / "hung") | {"OPENVINO_RERANKER_INFERENCE_PRECISION": "f32"}
        (folder / "hung").touch()
        recovered = True
        with Service(runtime, model.folder, **hangs) as service:
            run = Soak(service, folder, seed)
            try:
                until = time.monotonic() + minutes * 60
                run.rest(2.0)
                while time.monotonic() < until:
                    run.inject(choose(chance))
                    run.rest(chance.choice((0.0, 0.0, 1.0, 4.0)))
            except NotRecovered as error:
                recovered = False
                run.say(f"NOT RECOVERED: {error}")
                print("\n".join(service.lines[-60:]))
            except KeyboardInterrupt:
                run.say("stopped")
            finally:
                run.end()
            status = service.stop()
    total = run.tally.total
    print(f"\n{run.tally.table()}\n\nbroker: at most {run.broker_peak_mb:.0f} MB; serve ended with status {status}")
    return recovered and status == 0 and not total["wrong"] and not total["lost"]


def simulate(requests: int) -> Counter[str]:
    """Run the simulator, out of everybody's way."""
    os.nice(15)
    seen: Counter[str] = Counter()
    first = random.SystemRandom().randrange(1 << 30)
    for number in range(requests // WORLD_REQUESTS):
        seen += run_world(WORLD_REQUESTS, first + number)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30), help="of what is chosen")
    parser.add_argument("--simulate", type=int, default=1_000_000, metavar="REQUESTS", help="requests to simulate")
    arguments = parser.parse_args()
    print(f"{arguments.minutes:g} minutes, --seed {arguments.seed}", flush=True)
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        simulated = pool.submit(simulate, arguments.simulate)
        held = soak(arguments.minutes, arguments.seed)
        print("waiting for the simulation", flush=True)
        seen = simulated.result()
    print(f"simulated: {arguments.simulate} requests, every law kept: {dict(seen)}")
    if arguments.simulate >= 1_000_000:
        assert set(seen) >= HAPPENINGS, "not everything that can happen has happened"
    print("nothing lost, nothing wrong" if held else "FAILED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
