"""Word embeddings left on the host: the graph is compiled without their lookup, and the host fills in the rows.

The table is a third to a half of a small model's weights, and the compiled model of each bucket would hold all of it to
look up a few hundred rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

#: The input that replaces ``input_ids``.
EMBEDDINGS = "word_embeddings"
_IDS, _MASK = "input_ids", "attention_mask"


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """A model's word embeddings: views of its weights' file, read where they are needed.

    Attributes:
        values: A row for each token, f16, f32 or int8.
        scales: What int8 rows are multiplied by, one each; None for others.
    """

    values: NDArray[Any]
    scales: NDArray[Any] | None = None

    @property
    def width(self) -> int:
        """Numbers a row."""
        return int(self.values.shape[1])

    def rows(self, ids: Sequence[int]) -> NDArray[Any]:
        """Return the rows of tokens, one after the other."""
        rows = self.values[ids]
        return rows if self.scales is None else rows.astype(np.float32) * self.scales[ids]


def cut_embeddings(model: Any) -> EmbeddingTable | None:
    """Cut a model behind its look-up of word embeddings; return the table, or None and the model as it was.

    Afterwards the model has the input ``EMBEDDINGS`` in the place of ``input_ids``. A model that uses its ids for
    anything else, or whose table is of another kind, is left unchanged.
    """
    ports = {name: port for port in model.inputs for name in port.names}
    if _IDS not in ports or _MASK not in ports or ports[_MASK].get_element_type() != ports[_IDS].get_element_type():
        return None
    lookups, shapes = [], []
    for user in _users(ports[_IDS]):
        if user.get_type_name() == "Convert":
            lookups += [(each, user.output(0)) for each in _users(user.output(0))]
        elif user.get_type_name() == "ShapeOf":
            shapes.append(user)
        else:
            lookups.append((user, ports[_IDS]))
    table = _table_of(*lookups[0]) if len(lookups) == 1 else None
    if table is None:
        return None
    lookup = lookups[0][0]
    kind = ov.Type.f16 if table.values.dtype == np.float16 else ov.Type.f32
    embeddings = op.parameter([-1, -1, table.width], kind, name=EMBEDDINGS)
    embeddings.output(0).set_names({EMBEDDINGS})
    rows = op.convert(embeddings, lookup.output(0).get_element_type())
    for reader in list(lookup.output(0).get_target_inputs()):
        reader.replace_source_output(rows.output(0))
    for shape in shapes:
        shape.input(0).replace_source_output(ports[_MASK])  # which has the same shape
    model.add_parameters([embeddings])
    model.remove_parameter(ports[_IDS].get_node())
    model.validate_nodes_and_infer_types()
    return table


def make_static(model: Any, tokens: int) -> None:
    """Give every input of a model the shape of one row."""
    shapes = {}
    for port in model.inputs:
        width = [port.get_partial_shape()[2].get_length()] if EMBEDDINGS in port.names else []
        shapes[port] = [1, tokens, *width]
    model.reshape(shapes)


def _users(output: Any) -> list[Any]:
    return [reader.get_node() for reader in output.get_target_inputs()]


def _table_of(lookup: Any, ids: Any) -> EmbeddingTable | None:
    """Return the table that a node looks ids up in, or None if that is not what it does."""
    if lookup.get_type_name() != "Gather" or lookup.input_value(1) != ids:
        return None
    axis = lookup.input_value(2).get_node()
    if axis.get_type_name() != "Constant" or int(axis.data.reshape(-1)[0]) != 0:
        return None
    source, scales = lookup.input_value(0).get_node(), None
    if source.get_type_name() == "Multiply":
        scale = source.input_value(1).get_node()
        source = source.input_value(0).get_node()
        if scale.get_type_name() != "Constant" or scale.get_element_type() != ov.Type.f32:
            return None
        scales = scale.data
    if source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    if source.get_type_name() != "Constant" or len(source.get_output_shape(0)) != 2:
        return None
    values = source.data
    if scales is None:
        return EmbeddingTable(values) if values.dtype in (np.float16, np.float32) else None
    fits = values.dtype == np.int8 and scales.shape == (len(values), 1)
    return EmbeddingTable(values, scales) if fits else None
