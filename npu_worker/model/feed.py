"""Pairs as a graph takes them, one at a time: enough to try a model or to quantise it."""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from .bert_graph import INPUT_NAMES
from .errors import UnknownSource


def read_tokenizer(path: Path, max_length: int) -> Any:
    """Return the tokenizer without its own padding, cutting passages only.

    Raises:
        UnknownSource: The file is no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UnknownSource(f"{path.name} is no tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="only_second")
    return tokenizer


def feed_of(graph: Any, tokenizer: Any, query: str, passage: str) -> dict[str, Any]:
    """Return one pair as the graph's inputs, ``[1, tokens]`` in each input's element type."""
    pair = tokenizer.encode(query, passage)
    columns = dict(zip(INPUT_NAMES, (pair.ids, pair.attention_mask, pair.type_ids), strict=True))
    return {
        name: np.array([columns[name]], dtype=port.get_element_type().to_dtype())
        for port in graph.inputs
        for name in port.names & columns.keys()
    }
