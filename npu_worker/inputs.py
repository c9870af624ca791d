"""A model's input arrays, made from encoded rows: the one place where rows become what OpenVINO takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tokenization import Row

#: The names a BERT-like cross-encoder's inputs have.
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")

Ports = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def known_ports(inputs: Sequence[Any]) -> Ports:
    """Return those of a model's inputs that a cross-encoder has, by name; ``inputs`` are OpenVINO's ports."""
    return {name: port for port in inputs for name in INPUT_NAMES if name in port.names}


def empty_arrays(ports: Ports, rows: int, length: int) -> Arrays:
    """Return an array ``[rows, length]`` for each input, in its element type; what is in them is undefined."""
    return {name: np.empty((rows, length), port.get_element_type().to_dtype()) for name, port in ports.items()}


def fill(arrays: Mapping[str, NDArray[Any]], rows: Sequence[Row]) -> None:
    """Write rows into the arrays, padded with 0; remaining rows are filled with copies of the first.

    A row of padding alone would have a mask of zeros, and a softmax over nothing is NaN on some devices.

    Raises:
        ValueError: A row is empty, or longer than the arrays.
    """
    for name, array in arrays.items():
        length = array.shape[1]
        for place, row in enumerate(rows):
            width = len(row)
            if not 0 < width <= length:
                raise ValueError(f"a row of {width} tokens does not fit {length}")
            array[place, :width] = _values(name, row)
            array[place, width:] = 0
        array[len(rows) :] = array[0]


def feed(ports: Ports, rows: Sequence[Row]) -> Arrays:
    """Return the arrays of just these rows, as long as the longest."""
    arrays = empty_arrays(ports, len(rows), max(map(len, rows)))
    fill(arrays, rows)
    return arrays


def _values(name: str, row: Row) -> list[int] | int:
    match name:
        case "input_ids":
            return row.ids
        case "token_type_ids":
            return row.types
        case _:
            return 1
