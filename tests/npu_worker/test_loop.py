"""The worker's loop where timing decides, with a device's and a monitor's answers at hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import zmq
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.loop import WorkerLoop
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.worker_messages import BatchFailed


def test_a_broker_that_goes_while_two_batches_settle_is_waited_for(tiny: ReadyModel, runtime: Path) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    two: Any = SimpleNamespace(settle=lambda now: [(1, 0), (2, 0)], forget=lambda: None, total_us=0)
    loop: Any = WorkerLoop(engine.device, engine.tokenizer, "m", runtime / "workers.sock", monitor=two)
    loop._ended = {number: SimpleNamespace(answer=lambda *_: BatchFailed(1, "m")) for number in (1, 2)}
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.DEALER) as unconnected, loop._waker, loop._wakened:
        unconnected.setsockopt(zmq.IMMEDIATE, 1)
        loop._socket = unconnected
        loop._finish_jobs()
    context.term()
    assert loop._ended == {}
    assert loop._hello_due
