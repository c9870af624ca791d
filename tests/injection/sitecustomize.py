"""Faults and short limits for real processes, by being on ``PYTHONPATH``; the product has no switch for them.

``ORR_TEST_TIMEOUTS``: JSON, the fields of ``Timeouts`` to change.
``ORR_TEST_HANG_ONCE``: a path. The first CPU run of a text that holds HANG, in any process, makes the device of that
process hang for good, and makes the file; where the file is there, nothing hangs.
``ORR_TEST_CONSTANTS``: JSON, other values for constants: ``{"http_front.server": {"DRAIN_S": 3}}``.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class _After(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Change a module right after it was imported."""

    def __init__(self, name: str, change: Callable[[Any], None]) -> None:
        self._name = name
        self._change = change
        self._loader: Any = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


def _shorten(module: Any) -> None:
    module.DEFAULT_TIMEOUTS = module.Timeouts(**json.loads(os.environ["ORR_TEST_TIMEOUTS"]))


def _hang_once(module: Any) -> None:
    """Let the device of a process that is asked for HANG hold its runs for good."""
    hung = Path(os.environ["ORR_TEST_HANG_ONCE"])
    encode = module.Job._encode

    def encode_or_hang(self: Any, batch: Any, tokenizer: Any) -> None:
        encode(self, batch, tokenizer)
        if any(b"HANG" in passage for _, passage in batch.pairs) and not hung.exists():
            hung.touch()
            from openvino_reranker.npu_worker.dynamic_device import DynamicDevice

            collecting: Any = DynamicDevice
            collecting.collect = lambda _: []

    module.Job._encode = encode_or_hang


def _set(constants: dict[str, float]) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        for name, value in constants.items():
            assert hasattr(module, name), name
            setattr(module, name, value)

    return change


for _module, _constants in json.loads(os.environ.get("ORR_TEST_CONSTANTS", "{}")).items():
    sys.meta_path.insert(0, _After(f"openvino_reranker.{_module}", _set(_constants)))
if "ORR_TEST_TIMEOUTS" in os.environ:
    sys.meta_path.insert(0, _After("openvino_reranker.protocol.timeouts", _shorten))
if "ORR_TEST_HANG_ONCE" in os.environ:
    sys.meta_path.insert(0, _After("openvino_reranker.npu_worker.job", _hang_once))
