"""The worker's loop where timing decides, with a device's and a monitor's answers at hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import zmq
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.loop import WorkerLoop
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.pending_answers import PendingAnswers
from openvino_reranker.protocol.worker_messages import BatchFailed


def test_a_broker_that_goes_while_two_batches_settle_is_waited_for(tiny: ReadyModel, runtime: Path) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    two: Any = SimpleNamespace(settle=lambda now: [(1, 0), (2, 0)], forget=lambda: None, total_us=0)
    loop: Any = WorkerLoop(engine.device, engine.tokenizer, "m", runtime / "workers.sock", monitor=two)
    loop._answers._ended = {number: SimpleNamespace(answer=lambda *_: BatchFailed(1, "m")) for number in (1, 2)}
    with loop._broker as nobody, loop._waker, loop._wakened:
        loop._finish_jobs()
    assert loop._answers._ended == {}
    assert nobody.events & zmq.POLLOUT, "the next broker gets a hello"


def test_a_batch_that_failed_on_the_device_is_answered_without_proof_and_keeps_nothing_open() -> None:
    dropped: list[int] = []
    monitor: Any = SimpleNamespace(begin=lambda _: None, drop=dropped.append, settle=lambda _: [])
    failed: Any = SimpleNamespace(number=7, failed=True, answer=lambda _: BatchFailed(7, "NaN"))
    pending = PendingAnswers(monitor)
    pending.begin(failed)
    assert list(pending.take([failed], 0.0)) == [BatchFailed(7, "NaN")]
    assert dropped == [7]
