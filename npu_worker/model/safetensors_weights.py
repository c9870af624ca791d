"""Take the named weights of a BERT cross-encoder out of a safetensors file, in float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from .errors import UnknownSource, UnsupportedModel


def _widened(data: bytes) -> NDArray[np.float32]:
    """Return bfloat16, which numpy does not have, as the float32 of which it is the upper half."""
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)


_READERS: dict[str, Callable[[bytes], NDArray[np.float32]]] = {
    "F64": lambda data: np.frombuffer(data, np.float64).astype(np.float32),
    "F32": lambda data: np.frombuffer(data, np.float32),
    "F16": lambda data: np.frombuffer(data, np.float16).astype(np.float32),
    "BF16": _widened,
}


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return every float weight by the name it has in ``BertForSequenceClassification``.

    A file saved from the inner model lacks the prefix ``bert.``; one converted from TensorFlow calls the weight and
    bias of a norm ``gamma`` and ``beta``. Integers (``position_ids``) are no weights and are left out.

    Raises:
        UnknownSource: It cannot be read, or is no safetensors file.
        UnsupportedModel: Its weights are in a format that is not read here.
    """
    try:
        stored = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # its stub lacks annotations
    except (OSError, SafetensorError) as error:
        raise UnknownSource(f"{path} cannot be read as safetensors: {error}") from error
    weights = {}
    for name, tensor in stored:
        kind = tensor["dtype"]
        if kind in {"I64", "I32", "BOOL"}:
            continue
        if kind not in _READERS:
            raise UnsupportedModel(f"{path} holds {name} as {kind}; only float weights of 16 bits and more are read")
        weights[_full_name(name)] = _READERS[kind](tensor["data"]).reshape(tensor["shape"])
    return weights


def _full_name(name: str) -> str:
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        name = f"bert.{name}"
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
