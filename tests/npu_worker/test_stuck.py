"""A device that never ends what it began."""

import pytest
from openvino_reranker.npu_worker import engine
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.errors import DeviceLost
from openvino_reranker.npu_worker.model.store import ReadyModel


def test_scoring_on_a_device_that_is_stuck_ends(packaged: ReadyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Engine.open(packaged.folder, "CPU")
    monkeypatch.setattr(engine, "_STUCK_MS", 300.0)
    monkeypatch.setattr(DynamicDevice, "collect", lambda _: [])
    with pytest.raises(DeviceLost, match="CPU has finished nothing for"):
        made.score("q", ["passage"])
