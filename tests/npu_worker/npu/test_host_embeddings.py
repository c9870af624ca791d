"""The graph cut behind its word embeddings answers what the whole one does, and is smaller by the table."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.compiled_bucket import CompiledBucket
from openvino_reranker.npu_worker.npu.host_embeddings import EMBEDDINGS, cut_embeddings, make_static
from openvino_reranker.npu_worker.npu.reference_logits import make_rows
from openvino_reranker.npu_worker.openvino_core import shared_core
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT

TOKENS = 48


def on_stand_in(graph: Any) -> Any:
    make_static(graph, TOKENS)
    return ov.Core().compile_model(graph, "NPU", EXACT)


def read(model: ReadyModel) -> Any:
    return ov.Core().read_model(model.folder / "model.xml")


def test_scores_stay_exact(tiny: ReadyModel) -> None:
    rows = make_rows(PairTokenizer(tiny.folder / "tokenizer.json", 64), TOKENS)
    whole = CompiledBucket(TOKENS, on_stand_in(read(tiny)), 1).infer_on_each(rows)
    graph = read(tiny)
    table = cut_embeddings(graph)
    assert table is not None
    assert {name for port in graph.inputs for name in port.names} == {EMBEDDINGS, "attention_mask", "token_type_ids"}
    compiled = on_stand_in(graph)
    del graph
    gc.collect()  # the table must not depend on the graph
    bucket = CompiledBucket(TOKENS, compiled, 1, table)
    assert bucket.infer_on_each(rows) == whole
    # And a longer row leaves nothing behind in a shorter one.
    assert bucket.infer_on_each([rows[2], rows[0]]) == [whole[2], whole[0]]


def test_a_compiled_model_is_smaller_by_the_table(packaged: ReadyModel) -> None:
    def size(graph: Any) -> int:
        exported = on_stand_in(graph).export_model()
        return len(exported if isinstance(exported, bytes) else exported.getbuffer())

    graph = read(packaged)
    table = cut_embeddings(graph)
    assert table is not None
    assert size(read(packaged)) - size(graph) == pytest.approx(table.values.nbytes, rel=0.01)


def look_up(*, axis: int = 0, scaled: bool = False, twice: bool = False) -> tuple[Any, Any]:
    """Return a model that sums the embeddings of its ids, and their table in f32."""
    values = np.arange(-20, 20, dtype=np.int8).reshape(10, 4)
    scales = np.linspace(0.5, 1.5, 10, dtype=np.float32).reshape(10, 1)
    ids, mask = (op.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    for each in (ids, mask):
        each.output(0).set_names({each.get_friendly_name()})
    data: Any = op.constant(values if scaled else values.astype(np.float32))
    if scaled:
        data = op.multiply(op.convert(data, np.float32), op.constant(scales))
    found = op.gather(data, ids, op.constant(np.int64(axis)))
    summed = op.reduce_sum(found, op.constant(np.array([1, 2])))
    if twice:
        summed = op.add(summed, op.convert(op.reduce_sum(ids, op.constant(np.array([1]))), np.float32))
    live = op.convert(op.reduce_max(mask, op.constant(np.array([1]))), np.float32)
    model = ov.Model([op.multiply(summed, live)], [ids, mask], "sum")  # pyright: ignore[reportGeneralTypeIssues]
    return model, values * scales if scaled else values.astype(np.float32)


@pytest.mark.parametrize("scaled", [False, True], ids=["f32", "int8"])
def test_other_kinds_of_tables(scaled: bool) -> None:
    model, expected = look_up(scaled=scaled)
    table = cut_embeddings(model)
    assert table is not None
    assert table.rows([7, 0, 7]) == pytest.approx(expected[[7, 0, 7]])
    make_static(model, 3)
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    feed = {EMBEDDINGS: table.rows([1, 2, 3])[None], "attention_mask": np.ones((1, 3), np.int64)}
    assert compiled(feed)[0].item() == pytest.approx(expected[[1, 2, 3]].sum())


@pytest.mark.parametrize(
    "make",
    [
        lambda: look_up(axis=1),
        lambda: look_up(twice=True),  # as models do that count positions by their ids
    ],
    ids=["along another axis", "ids used otherwise too"],
)
def test_what_is_not_such_a_look_up_is_left_alone(make: Callable[[], tuple[Any, Any]]) -> None:
    model, _ = make()
    before = [port.get_any_name() for port in model.inputs]
    assert cut_embeddings(model) is None
    assert [port.get_any_name() for port in model.inputs] == before


def test_a_model_without_ids_is_left_alone(tmp_path: Path) -> None:
    values = op.parameter([1, 4], np.float32, name="values")
    assert cut_embeddings(ov.Model([op.relu(values)], [values], "m")) is None  # pyright: ignore[reportGeneralTypeIssues]
