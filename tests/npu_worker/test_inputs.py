"""Rows become arrays: padded with zeros, never a row of padding alone, in the element types the model has."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from openvino_reranker.npu_worker.inputs import INPUT_NAMES, empty_arrays, feed, fill, known_ports
from openvino_reranker.npu_worker.tokenization import Row

ROWS = [Row([1, 7, 8, 2], [0, 0, 1, 1], False), Row([1, 2], [0, 1], False)]


def model(*names: str, kind: type = np.int64) -> ov.Model:
    parameters = []
    for name in names:
        parameter = op.parameter([-1, -1], kind)
        parameter.output(0).tensor.names = {name}
        parameters.append(parameter)
    return ov.Model([op.add(parameters[0], parameters[0])], parameters, "inputs")  # pyright: ignore[reportGeneralTypeIssues]


def test_rows_are_padded_to_the_longest() -> None:
    arrays = feed(known_ports(model(*INPUT_NAMES).inputs), ROWS)
    assert arrays["input_ids"].tolist() == [[1, 7, 8, 2], [1, 2, 0, 0]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert arrays["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}


def test_arrays_hold_nothing_of_what_they_held_before() -> None:
    ports = known_ports(model(*INPUT_NAMES, kind=np.int32).inputs)
    arrays = empty_arrays(ports, 3, 5)
    for array in arrays.values():
        array[:] = 9
    fill(arrays, ROWS)
    assert arrays["input_ids"].tolist() == [[1, 7, 8, 2, 0], [1, 2, 0, 0, 0], [1, 7, 8, 2, 0]]
    assert arrays["attention_mask"].any(axis=1).all()
    assert arrays["attention_mask"].dtype == np.int32


def test_a_model_without_token_types_gets_none() -> None:
    assert set(feed(known_ports(model("input_ids", "attention_mask", "pixels").inputs), ROWS)) == {
        "input_ids",
        "attention_mask",
    }


@pytest.mark.parametrize("width", [0, 4])
def test_a_row_that_does_not_fit_is_never_sent(width: int) -> None:
    arrays = empty_arrays(known_ports(model(*INPUT_NAMES).inputs), 1, 3)
    with pytest.raises(ValueError, match=f"{width} tokens does not fit 3"):
        fill(arrays, [Row([1] * width, [0] * width, False)])
