"""Models from this machine, through pull to a scored pair."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper
from openvino_reranker.npu_worker.inputs import INPUT_NAMES, feed, known_ports
from openvino_reranker.npu_worker.model.bert_graph import BertShape, build_cross_encoder
from openvino_reranker.npu_worker.model.errors import UnknownSource, UnsupportedModel
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.store import find_ready, load
from openvino_reranker.npu_worker.openvino_core import shared_core
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.tests.npu_worker.model import tiny_bert
from openvino_reranker.tests.npu_worker.model.conftest import Score

TEXTS = [
    f"{words} lives in berlin {number}"
    for number, words in enumerate(
        ("ada", "people", "population", "x9", "berlin berlin", "in", "how many people", "a b c d e f g")
    )
]
#: fp16 weights move the tiny model's logit by so much at most.
FP16 = 0.02


def tiny_graph() -> ov.Model:
    return build_cross_encoder(tiny_bert.make_weights(), BertShape.from_config(tiny_bert.CONFIG))


def expected() -> float:
    return tiny_bert.reference_logit(tiny_bert.make_weights())


def write_onnx(path: Path, weights: dict[str, Any] | None = None, outputs: int = 1, extra_input: str = "") -> Path:
    """Write a model that sums one number a token; the weights are in it, unused."""
    table = np.linspace(-1, 1, 80 * outputs, dtype=np.float32).reshape(80, outputs)
    names = ["input_ids", *([extra_input] if extra_input else [])]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["each"]),
            helper.make_node("ReduceSum", ["each", "axis"], ["logits"], keepdims=0),
        ],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        [
            numpy_helper.from_array(value, name)
            for name, value in ({"table": table, "axis": np.array([1], np.int64)} | (weights or {})).items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_hugging_face_folder_is_built(folder: Path, cache: Path, score: Score) -> None:
    ready = pull(cache, str(folder), "fp16", print)
    card = ready.card
    assert (card.name, card.source, card.how, card.architecture) == ("tiny-reranker", str(folder), "built", "bert")
    assert (card.layers, card.max_length, card.precision) == (2, 64, "fp16")
    assert score(ready, tiny_bert.QUERY, tiny_bert.PASSAGE) == pytest.approx(expected(), abs=FP16)
    assert find_ready(cache, str(folder), ["fp16"]) == ready.folder
    assert {file.name for file in ready.folder.iterdir()} == {"model.xml", "model.bin", "tokenizer.json", "model.json"}


@pytest.mark.parametrize("name", ["openvino_model.xml", "model.xml"])
def test_an_openvino_folder_is_taken_as_it_is(tmp_path: Path, cache: Path, score: Score, name: str) -> None:
    given = tmp_path / "exported"
    given.mkdir()
    ov.save_model(tiny_graph(), given / name, compress_to_fp16=False)
    tiny_bert.write_beside(given)
    ready = pull(cache, str(given), "fp16", print)
    assert (ready.card.how, ready.card.architecture, ready.card.layers) == ("given", "bert", 2)
    assert score(ready, tiny_bert.QUERY, tiny_bert.PASSAGE) == pytest.approx(expected(), abs=FP16)


def test_a_static_openvino_model_is_refused(tmp_path: Path, cache: Path) -> None:
    graph = tiny_graph()
    graph.reshape({name: [1, 64] for name in INPUT_NAMES})
    ov.save_model(graph, tmp_path / "model.xml")
    tiny_bert.write_beside(tmp_path)
    with pytest.raises(UnsupportedModel, match="dynamic shapes"):
        pull(cache, str(tmp_path / "model.xml"), "fp16", print)


def test_the_weights_of_an_onnx_bert_are_built_anew(tmp_path: Path, cache: Path, score: Score) -> None:
    path = write_onnx(tmp_path / "model.onnx", tiny_bert.make_weights())
    tiny_bert.write_beside(tmp_path)
    ready = pull(cache, str(path), "fp16", print)
    assert ready.card.how == "built"
    assert score(ready, tiny_bert.QUERY, tiny_bert.PASSAGE) == pytest.approx(expected(), abs=FP16)


def test_another_onnx_is_taken_as_it_is(tmp_path: Path, cache: Path, score: Score) -> None:
    write_onnx(tmp_path / "sum.onnx")
    tiny_bert.make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    ready = pull(cache, str(tmp_path), "fp16", print)
    assert (ready.card.how, ready.card.architecture, ready.card.max_length) == ("given", "unknown", 512)
    tokenizer = tiny_bert.make_tokenizer()
    tokenizer.no_padding()
    ids = tokenizer.encode("berlin", "people").ids
    assert score(ready, "berlin", "people") == pytest.approx(np.linspace(-1, 1, 80)[ids].sum(), abs=0.01)


@pytest.mark.parametrize(("outputs", "extra", "message"), [(2, "", "one logit"), (1, "pixels", "pixels")])
def test_a_graph_that_is_no_reranker_is_refused(
    tmp_path: Path, cache: Path, outputs: int, extra: str, message: str
) -> None:
    write_onnx(tmp_path / "model.onnx", outputs=outputs, extra_input=extra)
    tiny_bert.make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedModel, match=message):
        pull(cache, str(tmp_path), "fp16", print)
    assert not any((cache / "models").rglob("*.*"))


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "tokenizer.json", "config.json"])
def test_a_file_that_is_something_else_is_named(folder: Path, cache: Path, name: str) -> None:
    if name == "model.onnx":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"this is text, not a model")
    with pytest.raises(UnknownSource, match=name):
        pull(cache, str(folder), "fp16", print)
    assert not any((cache / "models").rglob("*.*"))


def test_a_model_that_answers_no_number_is_refused(tmp_path: Path, cache: Path) -> None:
    weights = tiny_bert.make_weights()
    weights["classifier.bias"][:] = np.nan
    with pytest.raises(UnsupportedModel, match="finite"):
        pull(cache, str(tiny_bert.write_folder(tmp_path / "broken", weights)), "fp16", print)


def test_a_config_of_strange_values_ends_in_no_traceback(tmp_path: Path, cache: Path) -> None:
    odd: dict[str, Any] = {"num_labels": None, "id2label": None, "layer_norm_eps": None, "license": ["mit"]}
    ready = pull(cache, str(tiny_bert.write_folder(tmp_path / "odd", **odd)), "fp16", print)
    assert load(ready.folder).card.licence is None
    worse = tiny_bert.write_folder(tmp_path / "worse", max_position_embeddings="many")
    with pytest.raises(UnsupportedModel, match="does not describe a BERT"):
        pull(cache, str(worse), "fp16", print)
    (worse / "model.safetensors").unlink()
    ov.save_model(tiny_graph(), worse / "model.xml")
    with pytest.raises(UnsupportedModel, match="gives no maximum length"):
        pull(cache, str(worse), "fp16", print)


def test_a_changed_folder_is_made_ready_anew(folder: Path, cache: Path) -> None:
    first = pull(cache, str(folder), "fp16", print)
    tiny_bert.write_folder(folder, tiny_bert.make_weights(seed=8))
    assert find_ready(cache, str(folder), ["fp16"]) is None
    second = pull(cache, str(folder), "fp16", print)
    assert second.folder != first.folder
    assert load(first.folder).card == first.card


def test_int8_scores_nearly_alike(folder: Path, cache: Path, score: Score) -> None:
    fp16 = pull(cache, str(folder), "fp16", print)
    int8 = pull(cache, str(folder), "int8", print)
    assert int8.card.precision == "int8"
    assert (fp16.card.name, int8.card.name) == ("tiny-reranker", "tiny-reranker (int8)")  # answers tell them apart
    assert int8.folder.parent == fp16.folder.parent
    assert "FakeQuantize" in (int8.folder / "model.xml").read_text()
    exact, rounded = ([score(ready, tiny_bert.QUERY, text) for text in TEXTS] for ready in (fp16, int8))
    assert np.corrcoef(exact, rounded)[0, 1] > 0.9  # random weights: the texts' logits lie close together


def test_an_int8_model_scores_alike_on_every_cpu(folder: Path, cache: Path) -> None:
    """A CPU without VNNI adds products in 16 bits: with 8-bit weights they saturate, and scores are wrong."""
    ready = pull(cache, str(folder), "int8", print)
    tokenizer = PairTokenizer(ready.folder / "tokenizer.json", ready.card.max_length)
    logits = []
    for kernels in (True, False):  # this CPU's int8 kernels; the same numbers computed in f32
        options = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": kernels}
        model = shared_core().compile_model(ready.folder / "model.xml", "CPU", options)
        rows = tokenizer.encode(tiny_bert.QUERY, TEXTS)
        logits.append(model(feed(known_ports(model.inputs), rows))[0].reshape(-1))
    # Exactly so without VNNI; kernels that use it round elsewhere. Saturated, the correlation was 0.68.
    assert np.corrcoef(*logits)[0, 1] > 0.98
    assert logits[0] == pytest.approx(logits[1], abs=0.06)


def test_quantising_says_how_far_it_is(folder: Path, cache: Path) -> None:
    said: list[str] = []
    pull(cache, str(folder), "int8", said.append)
    shares = [line for line in said if line.startswith("quantising: ")]
    assert shares[-1] == "quantising: 100 %"
    assert shares == sorted(set(shares), key=lambda line: int(line.split()[1]))


def test_a_given_int8_graph_stays_as_it_is(folder: Path, cache: Path, tmp_path: Path) -> None:
    int8 = pull(cache, str(folder), "int8", print)
    again = pull(tmp_path / "other", str(int8.folder), "int8", print)
    assert again.card.how == "given"
