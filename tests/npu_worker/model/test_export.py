"""A folder that optimum-intel exported is a model like any other. Needs an environment of its own (1.6 GB).

Behind the marker ``export``: ``make test-export``. The environment stays in ``.cache/export-venv``.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino_reranker.npu_worker.engine import Engine
from openvino_reranker.npu_worker.model import packaged as packaged_source
from openvino_reranker.npu_worker.model.onnx_weights import read_bert_weights
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.sources import PackagedSource
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.tests.npu_worker.conftest import BENT, ROOT, until
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT, StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree
from safetensors.numpy import save_file

pytestmark = [pytest.mark.export, pytest.mark.timeout(3600)]

VENV = ROOT / ".cache" / "export-venv"
#: Named in both calls: the second would replace the CPU's build by another.
TORCH = "torch==2.13.0"
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 384,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


def run(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="session")
def optimum_cli() -> Path:
    """Return optimum's command, installed on first use."""
    done = VENV / ".done"
    if not done.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        run(sys.executable, "-m", "venv", VENV)
        pip = (VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-cache-dir")
        run(*pip, TORCH)
        run(*pip, TORCH, "optimum-intel==2.2.0", f"openvino=={ov.__version__.split('-')[0]}", "nncf>=3")
        # A CUDA build that breaks a CPU torch.
        run(VENV / "bin" / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision")
        done.touch()
    return VENV / "bin" / "optimum-cli"


@pytest.fixture(scope="session")
def exported(optimum_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> ReadyModel:
    """Return the packaged model's weights, as transformers keeps them, exported and made ready."""
    folder = tmp_path_factory.mktemp("export")
    download, given, out = folder / "download", folder / "ce-l12", folder / "ce-l12-ov"
    download.mkdir()
    given.mkdir()
    packaged_source.draft_of(PackagedSource(), download, print)
    # A transposed view would be written as if it were none.
    weights = {name: np.ascontiguousarray(value) for name, value in read_bert_weights(download / "model.onnx").items()}
    save_file(weights, given / "model.safetensors", {"format": "pt"})
    shutil.copy(download / "tokenizer.json", given)
    (given / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = {"tokenizer_class": "BertTokenizerFast", "model_max_length": 512}
    (given / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    task = ("--task", "text-classification", "--weight-format", "int8")
    run(optimum_cli, "export", "openvino", "--model", given, *task, out)
    return pull(folder / "cache", str(out), "fp16", print)


def test_an_exported_folder_on_dynamic_and_static_shapes(
    monkeypatch: pytest.MonkeyPatch, exported: ReadyModel, packaged: ReadyModel, tree: SysfsTree, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".links"))
    assert exported.card.how == "given"
    assert exported.card.max_length == 512
    query = "how many people live in berlin?"
    passages = [
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        "New York City is famous for the Metropolitan Museum of Art.",
        "berlin " * 51,
        "berlin " * 300,
        "",
    ]
    # On the CPU it scores as our own graph of the same weights, but for the int8 of the export
    right = Engine.open(packaged.folder, "CPU", "f32", 2).score(query, passages)
    dynamic = Engine.open(exported.folder, "CPU", "f32", 2).score(query, passages)
    assert dynamic.tokens == right.tokens
    assert dynamic.logits == pytest.approx(right.logits, abs=0.2)
    # And in buckets as on the CPU
    tree.tick()
    options = EXACT | {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    platform = StandIn(tree.root, tree.dev, options, compiler=(sys.executable, str(BENT), "not-exported"))
    npu = Engine.open(exported.folder, "NPU", npu=NpuSettings(tmp_path, (64, 512)), platform=platform)
    until(lambda: not npu.device.progress(), "compiled")
    npu.device.check()
    static = npu.score(query, passages)
    assert static.logits == pytest.approx(dynamic.logits, abs=1e-3)
