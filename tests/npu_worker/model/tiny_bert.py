"""A BERT cross-encoder small enough for a test, and a plain numpy reading of what it must answer."""

import json
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino_reranker.npu_worker.model.card import ModelCard
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

Floats = NDArray[np.float32]

LAYERS, HEADS, HIDDEN, INNER, POSITIONS = 2, 4, 32, 64, 128
QUERY, PASSAGE = "how many people live in berlin", "berlin had a population of three million"
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    "id2label": {"0": "LABEL_0"},
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}

#: The card of a model without files.
CARD = ModelCard(
    name="n",
    source="org/name",
    revision="r",
    licence=None,
    architecture="bert",
    layers=1,
    max_length=512,
    precision="fp16",
    how="built",
    created_by="0",
    files={},
)

_VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "berlin", "people", "population", "live"]
_VOCABULARY += [prefix + letter for letter in string.ascii_lowercase + string.digits for prefix in ("", "##")]


def make_weights(seed: int = 7, positions: int = POSITIONS) -> dict[str, Floats]:
    """Return random weights, large enough for every one of them to move the logit."""
    generator = np.random.default_rng(seed)
    sizes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings": (len(_VOCABULARY), HIDDEN),
        "bert.embeddings.position_embeddings": (positions, HIDDEN),
        "bert.embeddings.token_type_embeddings": (2, HIDDEN),
        "bert.embeddings.LayerNorm": (HIDDEN,),
        "bert.pooler.dense": (HIDDEN, HIDDEN),
        "classifier": (1, HIDDEN),
    }
    for layer in range(LAYERS):
        name = f"bert.encoder.layer.{layer}"
        sizes |= {f"{name}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        sizes |= {
            f"{name}.attention.output.dense": (HIDDEN, HIDDEN),
            f"{name}.attention.output.LayerNorm": (HIDDEN,),
            f"{name}.intermediate.dense": (INNER, HIDDEN),
            f"{name}.output.dense": (HIDDEN, INNER),
            f"{name}.output.LayerNorm": (HIDDEN,),
        }
    weights: dict[str, Floats] = {}
    for name, size in sizes.items():
        norm = name.endswith("LayerNorm")
        weights[f"{name}.weight"] = generator.normal(float(norm), 0.1 if norm else 0.3, size).astype(np.float32)
        if "_embeddings" not in name:
            weights[f"{name}.bias"] = generator.normal(0, 0.1, size[0]).astype(np.float32)
    return weights


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(_VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=32)  # as some files have it baked in; it must not matter
    return tokenizer


def write_folder(folder: Path, weights: dict[str, Any] | None = None, max_length: int = 64, **config: Any) -> Path:
    """Write what ``save_pretrained`` writes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(make_weights() if weights is None else weights, folder / "model.safetensors")
    write_beside(folder, max_length, **config)
    return folder


def write_beside(folder: Path, max_length: int = 64, **config: Any) -> None:
    """Write what lies beside the weights."""
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": max_length}))
    make_tokenizer().save(str(folder / "tokenizer.json"))


def reference_logit(weights: dict[str, Floats], query: str = QUERY, passage: str = PASSAGE) -> float:
    """Return the logit of a pair, computed in float64 and in full: every layer for every position."""
    tokenizer = make_tokenizer()
    tokenizer.no_padding()
    pair = tokenizer.encode(query, passage)
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(name: str, x: Any) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def heads(x: Any) -> Any:
        return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    embedded = w["bert.embeddings.word_embeddings.weight"][pair.ids]
    embedded = embedded + w["bert.embeddings.token_type_embeddings.weight"][pair.type_ids]
    x = norm("bert.embeddings.LayerNorm", embedded + w["bert.embeddings.position_embeddings.weight"][: len(pair.ids)])
    for layer in range(LAYERS):
        name = f"bert.encoder.layer.{layer}"
        q, k, v = (heads(dense(f"{name}.attention.self.{part}", x)) for part in ("query", "key", "value"))
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(HIDDEN / HEADS))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), HIDDEN)
        x = norm(f"{name}.attention.output.LayerNorm", x + dense(f"{name}.attention.output.dense", mixed))
        inner = dense(f"{name}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
        x = norm(f"{name}.output.LayerNorm", x + dense(f"{name}.output.dense", inner))
    return float(dense("classifier", np.tanh(dense("bert.pooler.dense", x[0])))[0])
