"""Scores through buckets are those of the dynamic path: at every edge, with real weights and with tiny ones."""

import sys
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.dynamic_device import DynamicDevice
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.tests.npu_worker.conftest import BENT, ROOT, until
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT, StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

#: A stand-in that was exported and imported computes in bf16 whatever it is told. One that is compiled in the
#: worker, as for a platform that cannot export, computes in f32.
NOT_EXPORTED = (sys.executable, str(BENT), "not-exported")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".links"))


def passage_of(tokenizer: PairTokenizer, query: str, word: str, tokens: int) -> str:
    """Return a passage that makes a row of so many tokens."""
    empty = len(tokenizer.encode(query, [word])[0]) - 1
    return " ".join([word] * (tokens - empty))


def open_both(
    tree: SysfsTree, model: ReadyModel, cache: Path, buckets: tuple[int, ...], options: dict[str, str]
) -> tuple[Engine, Engine]:
    tree.tick()
    settings = NpuSettings(cache, buckets, requests=3)
    compiler = NOT_EXPORTED if options is EXACT else None
    npu = Engine.open(
        model.folder, "NPU", npu=settings, platform=StandIn(tree.root, tree.dev, options, compiler=compiler)
    )
    until(lambda: not npu.device.progress(), "compiled")
    npu.device.check()
    dynamic = DynamicDevice(model.folder / "model.xml", model.card.max_length, "CPU", "f32", 2)
    return npu, Engine(model, npu.tokenizer, dynamic)


def at_edges(engine: Engine, query: str, word: str, buckets: tuple[int, ...]) -> tuple[list[str], list[int]]:
    tokens = [edge for bucket in buckets for edge in (bucket - 1, bucket, bucket + 1)]
    passages = [passage_of(engine.tokenizer, query, word, each) for each in tokens]
    limit = engine.tokenizer.max_length
    return passages, [min(each, limit) for each in tokens]


def test_at_every_edge_with_real_weights(tree: SysfsTree, packaged: ReadyModel, tmp_path: Path) -> None:
    buckets = (64, 192, 512)
    npu, dynamic = open_both(tree, packaged, tmp_path, buckets, EXACT)
    query = "how many people live in berlin"
    passages, tokens = at_edges(npu, query, "berlin", buckets)
    passages += ["berlin has three million people " * 200, "a cat", ""]
    found, right = npu.score(query, passages), dynamic.score(query, passages)
    assert found.tokens[: len(tokens)] == tokens
    assert found.tokens == right.tokens
    assert found.truncated == right.truncated
    assert len(found.truncated) == 2  # one token too many, and far too many
    assert found.padded_tokens == sum(next(b for b in buckets if b >= length) for length in found.tokens)
    assert found.logits == pytest.approx(right.logits, abs=1e-3)
    assert max(right.logits) - min(right.logits) > 1


def test_at_every_edge_of_many_buckets(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> None:
    buckets = (20, 24, 32, 40, 48, 64)
    npu, dynamic = open_both(tree, tiny, tmp_path, buckets, EXACT)
    passages, _ = at_edges(npu, "people live", "berlin", buckets)
    for each in (passages, passages[::-1]):
        found, right = npu.score("people live", each), dynamic.score("people live", each)
        assert found.logits == pytest.approx(right.logits, abs=1e-3)


def test_an_imprecise_device_passes_and_is_said_to_be_imprecise(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path
) -> None:
    # Given a device whose logits are all 0.05 too high: half of what is allowed, on any machine
    tree.tick()
    machine = StandIn(tree.root, tree.dev, compiler=(sys.executable, str(BENT), "slightly-off"))
    npu = Engine.open(tiny.folder, "NPU", npu=NpuSettings(tmp_path, (64,), requests=2), platform=machine)
    right = Engine(tiny, npu.tokenizer, DynamicDevice(tiny.folder / "model.xml", 64, "CPU", "f32", 2))
    [bucket] = npu.device.details()["buckets"].values()
    assert bucket["worst_logit_error"] == pytest.approx(0.05, abs=0.02)
    # Then its scores are off by as much as it says
    passages = ["berlin has three million people", "a cat"]
    found = npu.score("how many people live in berlin", passages).logits
    expected = right.score("how many people live in berlin", passages).logits
    assert [a - b for a, b in zip(found, expected, strict=True)] == pytest.approx([0.05, 0.05], abs=0.02)


def test_a_batch_on_the_dynamic_path_scores_as_each_pair_alone(packaged: ReadyModel) -> None:
    # Runs follow each other closely here: inputs given back too early would be overwritten by the next run's.
    engine = Engine.open(packaged.folder, "CPU", "f32", 2)
    query = "how many people live in berlin"
    passages = ["berlin " * words for words in (50, 180, 190, 300, 480, 600, 90, 220)]
    alone = [engine.score(query, [passage]).logits[0] for passage in passages]
    for _ in range(3):
        assert engine.score(query, passages).logits == pytest.approx(alone, abs=1e-3)
