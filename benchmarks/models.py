"""The packaged model's weights in the form that each peer reads."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ..npu_worker.model.onnx_weights import read_bert_weights
from ..npu_worker.model.packaged import draft_of
from ..npu_worker.model.sources import PackagedSource

_CONFIG = {
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
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
_TOKENIZER = {"tokenizer_class": "BertTokenizerFast", "model_max_length": 512, "do_lower_case": True}
_SPECIAL = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
#: Runs in the environment of sentence-transformers.
_EXPORT_ONNX = """
import sys, torch
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], attn_implementation="eager").eval()
names = ("input_ids", "attention_mask", "token_type_ids")
rows, tokens = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
example = {name: torch.ones(2, 16, dtype=torch.int64) for name in names}
example["attention_mask"][1, 9:] = 0  # a mask of ones alone would be left out of the graph
torch.onnx.export(model, kwargs=example, f=sys.argv[2], input_names=names,
                  output_names=("logits",), dynamic_shapes={name: {0: rows, 1: tokens} for name in names},
                  external_data=False, dynamo=True)
"""


@dataclass(frozen=True, slots=True)
class Models:
    """Folders: Hugging Face's layout, OpenVINO's, and two ONNX models as FlashRank and fastembed lay them out."""

    hugging_face: Path
    openvino: Path
    flashrank: Path
    fastembed: Path


def export(cache: Path, transformers: Path) -> Models:
    """Return the folders, made on first use.

    Args:
        cache: Where they are kept.
        transformers: The Python of an environment with sentence-transformers and optimum-intel.
    """
    models = Models(*(cache / "models" / name for name in ("hf", "openvino", "flashrank", "fastembed")))
    if (cache / "models" / ".complete").exists():
        return models
    print("exporting the packaged model for each peer", file=sys.stderr)
    shutil.rmtree(cache / "models", ignore_errors=True)
    download = cache / "models" / "download"
    for folder in (download, models.hugging_face, models.flashrank, models.fastembed / "onnx"):
        folder.mkdir(parents=True)
    draft_of(PackagedSource(), download, print)

    weights = read_bert_weights(download / "model.onnx")
    # A transposed view would be written as if it were none.
    contiguous = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    save_file(contiguous, models.hugging_face / "model.safetensors", {"format": "pt"})
    _lay_out(models.hugging_face, download)
    command = (transformers.parent / "optimum-cli", "export", "openvino", "--model", models.hugging_face)
    task = ("--task", "text-classification", "--weight-format", "fp32")
    subprocess.run([*command, *task, models.openvino], check=True, stdout=2)

    # FlashRank ships this very model quantised, and the packaged model is such a one.
    named = models.flashrank / "ms-marco-MiniLM-L-12-v2"
    named.mkdir()
    _lay_out(named, download)
    shutil.copy(download / "model.onnx", named / "flashrank-MiniLM-L-12-v2_Q.onnx")

    _lay_out(models.fastembed, download)
    onnx = models.fastembed / "onnx" / "model.onnx"
    subprocess.run([transformers, "-c", _EXPORT_ONNX, models.hugging_face, onnx], check=True, stdout=2)
    (cache / "models" / ".complete").touch()
    return models


def _lay_out(folder: Path, download: Path) -> None:
    """Write config and tokenizer as Hugging Face's libraries look for them."""
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER | _SPECIAL))
    (folder / "special_tokens_map.json").write_text(json.dumps(_SPECIAL))
    tokenizer = json.loads((download / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n", "utf-8")
    # Padding to 512 is written into it, which some obey.
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"padding": None, "truncation": None}), "utf-8")
