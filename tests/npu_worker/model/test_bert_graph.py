"""The graph we build computes what the model computes, whatever form its weights come in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openvino_reranker.npu_worker.model.bert_graph import BertShape, build_cross_encoder
from openvino_reranker.npu_worker.model.errors import UnsupportedModel
from openvino_reranker.npu_worker.model.safetensors_weights import read_safetensors
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.openvino_core import shared_core
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.npu_worker.model.conftest import Score
from safetensors.numpy import save_file

BERLIN = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
MISS = "Berlin is well known for its museums."


def logit_of(weights: Any, width: int = 0) -> float:
    """Build, compile and score the test's pair, padded to ``width``."""
    graph = build_cross_encoder(weights, BertShape.from_config(tiny_bert.CONFIG))
    model = shared_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tokenizer = tiny_bert.make_tokenizer()
    tokenizer.no_padding()
    pair = tokenizer.encode(tiny_bert.QUERY, tiny_bert.PASSAGE)
    rows = (pair.ids, pair.attention_mask, pair.type_ids)
    padding = [0] * max(0, width - len(pair.ids))
    feed = {
        name: np.array([row + padding], np.int32)
        for name, row in zip(("input_ids", "attention_mask", "token_type_ids"), rows, strict=True)
    }
    return float(model(feed)[0][0, 0])


@pytest.mark.parametrize(("passage", "logit"), [(ANSWER, 9.0859), (MISS, -3.9330)])
def test_the_packaged_model_answers_the_known_logits(
    packaged: ReadyModel, score: Score, passage: str, logit: float
) -> None:
    assert score(packaged, BERLIN, passage) == pytest.approx(logit, abs=0.002)


def test_the_last_layer_for_one_position_gives_the_logit_of_the_whole_layer() -> None:
    weights = tiny_bert.make_weights()
    assert logit_of(weights) == pytest.approx(tiny_bert.reference_logit(weights), abs=1e-4)


def test_padding_does_not_move_the_logit() -> None:
    weights = tiny_bert.make_weights()
    assert logit_of(weights, width=100) == pytest.approx(logit_of(weights), abs=1e-4)


def test_every_weight_is_used() -> None:
    weights = tiny_bert.make_weights()
    logit = logit_of(weights)
    for name in weights:
        if name.endswith("key.bias"):
            continue  # adds the same to every score of a row, and softmax takes it away again
        changed = weights | {name: weights[name] + np.float32(0.5) * np.resize([1, -1, 0.3], weights[name].shape)}
        assert logit_of(changed) != logit, name


def test_names_without_prefix_and_norms_called_gamma_and_beta_are_understood(tmp_path: Path) -> None:
    weights = tiny_bert.make_weights()
    renamed = {
        name.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    save_file(renamed | {"embeddings.position_ids": np.arange(8)}, tmp_path / "m.safetensors")
    read = read_safetensors(tmp_path / "m.safetensors")
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) for name in weights)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_weights_of_half_the_width_are_read(tmp_path: Path, kind: str) -> None:
    value = np.array([[1.5, -2.0], [0.25, 384.0]], np.float32)  # exact in both
    data = (value.astype(np.float16) if kind == "F16" else (value.view(np.uint32) >> 16).astype(np.uint16)).tobytes()
    # Written by hand: safetensors.numpy has no bfloat16 to write.
    header = json.dumps({"classifier.weight": {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    assert np.array_equal(read_safetensors(path)["classifier.weight"], value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "roberta"}, "optimum-cli export openvino"),
        ({"id2label": {"0": "no", "1": "yes"}}, "2 labels"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_hidden_layers": None}, "does not describe a BERT"),
        ({"id2label": None, "num_labels": "one"}, "does not describe a BERT"),
        ({"id2label": 1}, "does not describe a BERT"),
        ({"layer_norm_eps": "small"}, "does not describe a BERT"),
    ],
)
def test_a_config_of_another_model_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        BertShape.from_config(tiny_bert.CONFIG | config)


def test_null_in_a_config_is_as_good_as_absent() -> None:
    names = ("model_type", "id2label", "num_labels", "layer_norm_eps", "hidden_act", "position_embedding_type")
    assert BertShape.from_config(tiny_bert.CONFIG | dict.fromkeys(names)) == BertShape.from_config(tiny_bert.CONFIG)


def test_a_classifier_of_two_labels_is_refused_whatever_the_config_says() -> None:
    weights = tiny_bert.make_weights()
    weights["classifier.weight"] = np.repeat(weights["classifier.weight"], 2, axis=0)
    with pytest.raises(UnsupportedModel, match="2 labels"):
        logit_of(weights)


def test_a_missing_weight_is_named() -> None:
    weights = tiny_bert.make_weights()
    del weights["bert.pooler.dense.bias"]
    with pytest.raises(UnsupportedModel, match=r"bert\.pooler\.dense\.bias"):
        logit_of(weights)
