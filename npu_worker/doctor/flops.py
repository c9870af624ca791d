"""How much a compiled shape computes: the multiplications of its graph, counted."""

import math
from typing import Any


def count_flop(model: Any) -> float:
    """Return the floating-point operations of one inference of a static model, in its matrix products."""
    return float(sum(_flop(op) for op in model.get_ordered_ops()))


def _flop(op: Any) -> int:
    match op.get_type_name():
        case "MatMul":
            first = list(op.input_value(0).get_shape())
            shared = first[-2] if op.get_attributes().get("transpose_a") else first[-1]
            return int(2 * math.prod(op.get_output_shape(0)) * shared)
        case "ScaledDotProductAttention":
            query, key, value = (list(op.input_value(place).get_shape()) for place in range(3))
            pairs = math.prod(query[:-1]) * key[-2]
            return int(2 * pairs * (query[-1] + value[-1]))
    return 0
