import math
from pathlib import Path
from typing import Any, cast

import pytest
from openvino_reranker.npu_worker.errors import CounterStill, DeviceLost, WrongLogits
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.busy_counter import BusyCounter
from openvino_reranker.npu_worker.npu.compiled_bucket import CompiledBucket
from openvino_reranker.npu_worker.npu.reference_logits import Reference, make_rows
from openvino_reranker.npu_worker.npu.self_test import TOLERANCE, check_logits, check_rise, self_test
from openvino_reranker.npu_worker.tokenization import PairTokenizer, Row
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

RIGHT = [9.0, -11.0, 8.0, -10.9]


def test_the_tolerance_is_that_of_the_precision() -> None:
    assert TOLERANCE == {"fp16": 0.1, "int8": 0.5}
    assert check_logits(64, [9.09, -11, 8, -10.9], RIGHT, 0.1) == pytest.approx(0.09)
    off = [9.2, -11.0, 8.0, -10.9]
    with pytest.raises(WrongLogits, match=r"0\.200 off, at most 0\.1 is allowed"):
        check_logits(64, off, RIGHT, TOLERANCE["fp16"])
    assert check_logits(64, off, RIGHT, TOLERANCE["int8"]) == pytest.approx(0.2)


@pytest.mark.parametrize("expected", [[math.nan] * 4, [9.0, math.nan, 8.0, -10.9], [9.0, -11.0, 8.0, math.inf]])
def test_nothing_passes_against_nan_or_infinity(expected: list[float]) -> None:
    with pytest.raises(WrongLogits):
        check_logits(64, [9.0, -11.0, 8.0, -10.9], expected, 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(WrongLogits, match="NaN or infinite"):
        check_logits(64, [9.0, bad, 8.0, -10.9], RIGHT, 0.5)


def test_zeros_are_refused() -> None:
    with pytest.raises(WrongLogits, match=r"\[0\.000, 0\.000, 0\.000, 0\.000\] instead of \[9\.000") as raised:
        check_logits(64, [0.0] * 4, RIGHT, 0.5)
    assert (raised.value.logits, raised.value.expected) == ([0.0] * 4, RIGHT)
    assert "EXECUTION_MODE_HINT=ACCURACY" in str(raised.value)


def test_another_order_is_refused_even_within_the_tolerance() -> None:
    assert check_logits(64, [1.0, 1.05], [1.05, 1.0], 0.1) == pytest.approx(0.05)  # too near to have an order
    with pytest.raises(WrongLogits, match="another order"):
        check_logits(64, [1.05, 1.06], [1.12, 1.0], 0.1)


def test_the_counter_must_rise() -> None:
    check_rise(64, Path("/c"), 5, 6)
    with pytest.raises(CounterStill, match=r"/c stayed at 5 us.*not this NPU"):
        check_rise(64, Path("/c"), 5, 5)
    with pytest.raises(DeviceLost, match="fell from 5 to 0"):
        check_rise(64, Path("/c"), 5, 0)


class FakeBucket:
    tokens = 64
    free = (1, 2)

    def __init__(self, tree: SysfsTree, answer: Any, rise: int) -> None:
        self._tree, self._answer, self._rise = tree, answer, rise

    def infer_on_each(self, rows: list[Row]) -> list[float]:
        self._tree.set(1000 + self._rise)
        if isinstance(self._answer, Exception):
            raise self._answer
        return cast("list[float]", self._answer)


@pytest.mark.parametrize(
    ("answer", "rise", "error", "says"),
    [
        (RIGHT, 0, CounterStill, "stayed at 1000"),
        (RIGHT, -900, DeviceLost, "was reloaded"),
        ([0.0] * 4, 50, WrongLogits, "driver"),
        (ArithmeticError("two requests answered 1 and 2 for one pair"), 50, WrongLogits, "two requests"),
        (RuntimeError("ZE_RESULT_ERROR_DEVICE_LOST"), 50, DeviceLost, "modprobe -r intel_vpu"),
    ],
)
def test_each_failure_has_its_own_error(tree: SysfsTree, answer: Any, rise: int, error: Any, says: str) -> None:
    bucket = cast("CompiledBucket", FakeBucket(tree, answer, rise))
    rows = [Row([1, 2], [0, 1], False)] * 4
    with pytest.raises(error, match=says) as raised:
        self_test(bucket, rows, RIGHT, "fp16", BusyCounter(tree.root))
    assert type(raised.value) is error


def test_it_says_what_it_measured(tree: SysfsTree) -> None:
    bucket = cast("CompiledBucket", FakeBucket(tree, RIGHT, 70))
    result = self_test(bucket, [Row([1, 2], [0, 1], False)] * 4, RIGHT, "fp16", BusyCounter(tree.root))
    assert (result.tokens, result.rise_us, result.worst) == (64, 70, 0.0)
    assert (result.logits, result.expected) == (RIGHT, RIGHT)


def test_the_rows_test_mask_and_full_length(tiny: ReadyModel) -> None:
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", tiny.card.max_length)
    lengths = [len(row) for row in make_rows(tokenizer, 48)]
    assert lengths[2:] == [48, 48]
    for row in make_rows(tokenizer, 32):
        assert len(row) <= 32
        assert (row.ids[0], row.ids[-1]) == (2, 3)


def test_reference_logits_are_computed_once(tiny: ReadyModel, tmp_path: Path) -> None:
    rows = make_rows(PairTokenizer(tiny.folder / "tokenizer.json", tiny.card.max_length), 32)
    path = tmp_path / "reference.json"
    first = Reference(tiny.folder / "model.xml", path).of(rows)
    assert all(map(math.isfinite, first))
    assert Reference(Path("/no/model.xml"), path).of(rows) == first
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    assert Reference(tiny.folder / "model.xml", path).of(rows) == first  # damaged: computed again
