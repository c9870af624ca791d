"""The model's input tensors, made from encoded rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov

from .packing import Run
from .tokenization import Row

#: The names a BERT-like cross-encoder's inputs have.
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")


def fill(run: Run, rows: Sequence[Row], inputs: dict[str, Any]) -> dict[str, ov.Tensor]:
    """Return the input tensors of a run, padded with 0, in the element type each input has."""
    arrays = {
        name: np.zeros((len(run.rows), run.length), port.get_element_type().to_dtype()) for name, port in inputs.items()
    }
    ids, mask, types = (arrays.get(name) for name in INPUT_NAMES)
    for place, number in enumerate(run.rows):
        row = rows[number]
        width = len(row)
        if ids is not None:
            ids[place, :width] = row.ids
        if mask is not None:
            mask[place, :width] = 1
        if types is not None:
            types[place, :width] = row.types
    return {name: ov.Tensor(array, shared_memory=True) for name, array in arrays.items()}
