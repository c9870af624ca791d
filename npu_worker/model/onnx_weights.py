"""Take the named weights of a BERT cross-encoder out of an ONNX file, float or dynamically quantised.

An exporter names a weight after its parameter (``bert.pooler.dense.weight``) or not at all
(``onnx::MatMul_1662``); the *node* that uses it is always named after the module
(``/bert/encoder/layer.0/attention/self/query/MatMul``), so the node names carry the parameter names.
A quantised weight is ``(q - zero_point) * scale`` (ONNX operator DequantizeLinear): the graph around it
quantises activations over the whole padded tensor, which makes a pair's score depend on its padding,
so only the weights are taken and a clean graph is built around them.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

_MODULE = re.compile(r"^/(?P<module>.+)/(MatMul|Gemm|Gather)(_MatMul)?(_quant)?$")


def read_bert_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return every weight by its parameter name, dense weights as ``[out, in]``; empty if none is recognised.

    Raises:
        OSError: The file cannot be read.
        google.protobuf.message.DecodeError: It is not ONNX.
    """
    model = onnx.load(path)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {
        name: _floats(numpy_helper.to_array(tensor))
        for name, tensor in stored.items()
        if name.endswith((".weight", ".bias"))
    }
    for node in model.graph.node:
        match = _MODULE.match(node.name)
        if match is None or "embeddings" in match["module"]:
            continue
        weight = next((name for name in node.input if name in stored and stored[name].dims), None)
        if weight is None or len(stored[weight].dims) != 2:
            continue
        value = _dequantised(weight, stored)
        transposed = node.op_type == "Gemm" and _attribute(node, "transB") == 1
        weights[match["module"].replace("/", ".") + ".weight"] = value if transposed else value.T
    for name in stored:
        if name.endswith(".weight_quantized") and "embeddings" in name:
            weights[name.removesuffix("_quantized")] = _dequantised(name, stored)
    return weights


def _dequantised(name: str, stored: dict[str, Any]) -> NDArray[np.float32]:
    value = numpy_helper.to_array(stored[name])
    if not name.endswith("_quantized"):
        return _floats(value)
    base = name.removesuffix("_quantized")
    scale = numpy_helper.to_array(stored[f"{base}_scale"])
    zero_point = numpy_helper.to_array(stored[f"{base}_zero_point"])
    return (_floats(value) - _floats(zero_point)) * _floats(scale)


def _floats(value: NDArray[Any]) -> NDArray[np.float32]:
    return value.astype(np.float32)


def _attribute(node: Any, name: str) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), 0)
