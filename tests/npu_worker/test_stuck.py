"""A device that never ends what it began."""

import pytest
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import DeviceStuck
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.timeouts import Timeouts
from openvino_reranker.protocol.worker_messages import Batch


def test_scoring_on_a_device_that_is_stuck_ends(tiny: ReadyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(tiny.folder, "CPU")
    monkeypatch.setattr(DynamicDevice, "collect", lambda _: [])
    with pytest.raises(DeviceStuck, match="CPU has finished nothing for"):
        engine.run(Batch(0, [b"q"], [(0, b"passage")]), Timeouts(first_inference=0.3))
