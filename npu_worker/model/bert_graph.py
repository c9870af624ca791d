"""Build the OpenVINO graph of a BERT-family cross-encoder from its named weights, without torch.

The graph computes what ``BertForSequenceClassification`` with one label computes (Devlin et al. 2018,
and the parameter names of the ``transformers`` library), with three choices of our own:

* the last layer is computed for the ``[CLS]`` position only (its keys and values for all positions):
  nothing else of it reaches the pooler, so the logit is the same and a good part of a layer is saved;
* the attention mask is added as 0 or -10000: finite in fp16, and a row is never NaN;
* inputs are int32, ``[batch, tokens]``, both dynamic; reshaping to a static shape folds the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from ..inputs import INPUT_NAMES
from .errors import UnsupportedModel

Weights = Mapping[str, NDArray[np.float32]]

#: Added to the attention score of a padded position; exp() of it is 0 in fp16 as in fp32.
MASKED = -10000.0


@dataclass(frozen=True, slots=True)
class BertShape:
    """What the graph needs to know beside the weights (the fields of a ``config.json``)."""

    layers: int
    heads: int
    positions: int
    layer_norm_eps: float = 1e-12
    activation: str = "gelu"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "BertShape":
        """Read a Hugging Face ``config.json``; null counts as absent.

        Raises:
            UnsupportedModel: Not BERT, more than one label, relative positions, or a field is missing or not a number.
        """
        kind = config.get("model_type") or "bert"
        if kind != "bert":
            raise UnsupportedModel(
                f"model_type is {kind!r}: only BERT-family cross-encoders are built here; export this one with "
                "'optimum-cli export openvino --task text-classification' and give that folder"
            )
        try:
            # The weights decide: a config may name no label at all.
            labels = len(config.get("id2label") or {}) or int(config.get("num_labels") or 1)
            layers, heads, positions = (
                int(config[field]) for field in ("num_hidden_layers", "num_attention_heads", "max_position_embeddings")
            )
            layer_norm_eps = float(config.get("layer_norm_eps") or 1e-12)
        except (KeyError, TypeError, ValueError) as error:
            raise UnsupportedModel(f"config.json does not describe a BERT model: {error!r}") from error
        if labels != 1:
            raise UnsupportedModel(f"the classifier has {labels} labels; a reranker has one")
        if (kind := config.get("position_embedding_type") or "absolute") != "absolute":
            raise UnsupportedModel(f"position_embedding_type {kind!r} is not supported")
        activation = str(config.get("hidden_act") or "gelu")
        return cls(layers, heads, positions, layer_norm_eps, activation)


def build_cross_encoder(weights: Weights, shape: BertShape) -> ov.Model:
    """Return the model ``input_ids, attention_mask, token_type_ids -> logits [batch, 1]`` in fp32.

    Args:
        weights: By parameter name (``bert.encoder.layer.0.attention.self.query.weight``, ``[out, in]``).
        shape: Layers, heads and the rest.

    Raises:
        UnsupportedModel: A weight is missing, the classifier has more than one label, or the activation is not one
            BERT uses.
    """
    return _Graph(weights, shape).build()


class _Graph:
    def __init__(self, weights: Weights, shape: BertShape) -> None:
        self.weights = weights
        self.shape = shape

    def build(self) -> ov.Model:
        ids, mask, types = (op.parameter([-1, -1], np.int32, name=name) for name in INPUT_NAMES)
        for node, name in zip((ids, mask, types), INPUT_NAMES, strict=True):
            node.output(0).tensor.names = {name}
        hidden = self._embed(ids, types)
        bias = self._attention_bias(mask)
        for layer in range(self.shape.layers):
            hidden = self._layer(f"bert.encoder.layer.{layer}", hidden, bias, cls_only=layer == self.shape.layers - 1)
        pooled = op.tanh(self._dense("bert.pooler.dense", op.squeeze(hidden, _ints([1]))))
        logits = self._dense("classifier", pooled)
        if (labels := self.weights["classifier.weight"].shape[0]) != 1:
            raise UnsupportedModel(f"the classifier has {labels} labels; a reranker has one")
        logits.output(0).tensor.names = {"logits"}
        return ov.Model([op.result(logits, name="logits")], [ids, mask, types], "cross_encoder")  # pyright: ignore[reportGeneralTypeIssues]

    def _weight(self, name: str) -> ov.Node:
        try:
            value = self.weights[name]
        except KeyError:
            raise UnsupportedModel(f"weight {name!r} is missing: this is not a BERT cross-encoder") from None
        return op.constant(np.ascontiguousarray(value, dtype=np.float32), name=name)

    def _dense(self, name: str, x: ov.Node) -> ov.Node:
        product = op.matmul(x, self._weight(f"{name}.weight"), False, True, name=f"{name}/matmul")
        return op.add(product, self._weight(f"{name}.bias"))

    def _norm(self, name: str, x: ov.Node) -> ov.Node:
        centred = op.mvn(x, _ints([-1]), True, self.shape.layer_norm_eps, "inside_sqrt")
        return op.add(op.multiply(centred, self._weight(f"{name}.weight")), self._weight(f"{name}.bias"))

    def _embed(self, ids: ov.Node, types: ov.Node) -> ov.Node:
        name = "bert.embeddings"
        words = op.gather(self._weight(f"{name}.word_embeddings.weight"), ids, _ints(0))
        segments = op.gather(self._weight(f"{name}.token_type_embeddings.weight"), types, _ints(0))
        tokens = op.gather(op.shape_of(ids, "i32"), _ints([1]), _ints(0))
        positions = op.slice(
            self._weight(f"{name}.position_embeddings.weight"), _ints([0]), tokens, _ints([1]), _ints([0])
        )
        return self._norm(f"{name}.LayerNorm", op.add(op.add(words, segments), positions))

    def _attention_bias(self, mask: ov.Node) -> ov.Node:
        """Return ``[batch, 1, 1, tokens]``: 0 where the mask is 1, ``MASKED`` where it is 0."""
        padded = op.subtract(_floats(1.0), op.convert(mask, "f32"))
        return op.unsqueeze(op.multiply(padded, _floats(MASKED)), _ints([1, 2]))

    def _layer(self, name: str, x: ov.Node, bias: ov.Node, *, cls_only: bool) -> ov.Node:
        asking = op.slice(x, _ints([0]), _ints([1]), _ints([1]), _ints([1])) if cls_only else x
        attended = self._attention(f"{name}.attention.self", asking, x, bias)
        attended = self._dense(f"{name}.attention.output.dense", attended)
        attended = self._norm(f"{name}.attention.output.LayerNorm", op.add(attended, asking))
        inner = self._activate(self._dense(f"{name}.intermediate.dense", attended))
        outer = self._dense(f"{name}.output.dense", inner)
        return self._norm(f"{name}.output.LayerNorm", op.add(outer, attended))

    def _activate(self, x: ov.Node) -> ov.Node:
        match self.shape.activation:
            case "gelu":
                return op.gelu(x, "erf")
            case "gelu_new" | "gelu_pytorch_tanh":
                return op.gelu(x, "tanh")
            case "relu":
                return op.relu(x)
            case other:
                raise UnsupportedModel(f"hidden_act {other!r} is not supported")

    def _attention(self, name: str, asking: ov.Node, x: ov.Node, bias: ov.Node) -> ov.Node:
        query, key, value = (
            self._split_heads(self._dense(f"{name}.{part}", source))
            for part, source in (("query", asking), ("key", x), ("value", x))
        )
        width = self.weights[f"{name}.query.weight"].shape[0] // self.shape.heads
        scores = op.multiply(op.matmul(query, key, False, True), _floats(width**-0.5))
        shares = op.softmax(op.add(scores, bias), -1)
        merged = op.transpose(op.matmul(shares, value, False, False), _ints([0, 2, 1, 3]))
        return op.reshape(merged, _ints([0, 0, -1]), True)

    def _split_heads(self, x: ov.Node) -> ov.Node:
        """Turn ``[batch, tokens, hidden]`` into ``[batch, heads, tokens, hidden / heads]``."""
        heads = self.shape.heads
        width = x.get_output_partial_shape(0)[2].get_length() // heads
        return op.transpose(op.reshape(x, _ints([0, 0, heads, width]), True), _ints([0, 2, 1, 3]))


def _ints(value: int | list[int]) -> ov.Node:
    return op.constant(np.array(value, dtype=np.int32))


def _floats(value: float) -> ov.Node:
    return op.constant(np.array(value, dtype=np.float32))
