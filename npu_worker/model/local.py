"""Drafts from files on this machine: our own graph where the model is a BERT, else the graph as given."""

import contextlib
import json
from pathlib import Path
from typing import Any, TypeVar

import openvino as ov

from ..inputs import INPUT_NAMES
from .bert_graph import BertShape, build_cross_encoder
from .draft import Draft
from .errors import UnknownSource, UnsupportedModel
from .onnx_weights import read_bert_weights
from .safetensors_weights import read_safetensors
from .sources import LocalSource

T = TypeVar("T")

#: The longest row if nothing states it.
_USUAL_LENGTH = 512
#: A tokenizer without a limit of its own says 1e30 or the like.
_SANE_LENGTH = 1_000_000
#: Their positions begin after the padding's: a row may be shorter than the table by ``pad_token_id + 1``.
_ROBERTA_LIKE = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "longformer", "mpnet"})


def draft_of(source: LocalSource) -> Draft:
    """Read a model and return its draft.

    Raises:
        UnknownSource: A file cannot be read for what it should be.
        UnsupportedModel: It is not a cross-encoder that works here.
    """
    config = read_json(source.config)
    built = _build(source, config)
    if built is None:
        graph, layers = _given(source), _of_type(int, config.get("num_hidden_layers"))
    else:
        graph, layers = built
    return Draft(
        graph=graph,
        tokenizer=source.tokenizer,
        name=source.name,
        source=str(source),
        revision=source.digest,
        licence=_of_type(str, config.get("license")),
        architecture="bert" if built else str(config.get("model_type", "unknown")),
        layers=layers,
        max_length=max_length(config, read_json(source.tokenizer_config)),
        how="built" if built else "given",
    )


def max_length(config: dict[str, Any], tokenizer_config: dict[str, Any]) -> int:
    """Return the longest row the model takes, tokens.

    Raises:
        UnsupportedModel: The config states it as something other than numbers.
    """
    limits: list[int] = []
    try:
        if positions := config.get("max_position_embeddings"):
            offset = int(config.get("pad_token_id") or 1) + 1 if config.get("model_type") in _ROBERTA_LIKE else 0
            limits.append(int(positions) - offset)
    except (TypeError, ValueError) as error:
        raise UnsupportedModel(f"config.json gives no maximum length of a row: {error}") from error
    stated = tokenizer_config.get("model_max_length")
    if isinstance(stated, int | float) and 0 < stated <= _SANE_LENGTH:
        limits.append(int(stated))
    return min(limits, default=_USUAL_LENGTH)


def read_json(path: Path | None) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no file.

    Raises:
        UnknownSource: It cannot be read, or is not a JSON object.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownSource(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UnknownSource(f"{path} does not contain a JSON object")
    return content


def _of_type(kind: type[T], value: object) -> T | None:
    """Return what a config says of little importance, if it is of the right kind."""
    return value if isinstance(value, kind) else None


def _build(source: LocalSource, config: dict[str, Any]) -> tuple[ov.Model, int] | None:
    """Return our own graph and its layers, or None for a graph that is used as it is.

    1. Safetensors are weights only: build, or raise.
    2. An ONNX file of a BERT with its config beside it: build, since its own graph may depend on the padding.
    3. Any other graph: as it is.
    """
    if source.kind == "safetensors":
        shape = BertShape.from_config(config)
        return build_cross_encoder(read_safetensors(source.file), shape), shape.layers
    if source.kind == "onnx" and config.get("model_type") == "bert":
        with contextlib.suppress(UnsupportedModel):
            shape = BertShape.from_config(config)
            try:
                weights = read_bert_weights(source.file)
            except Exception as error:  # protobuf and onnx raise what they like
                raise UnknownSource(f"{source.file} is not a readable ONNX file: {error}") from error
            return build_cross_encoder(weights, shape), shape.layers
    return None


def _given(source: LocalSource) -> ov.Model:
    """Return a finished graph after looking at its inputs and output.

    Raises:
        UnknownSource: OpenVINO cannot read it.
        UnsupportedModel: Other inputs than a cross-encoder's, more than one logit, or static shapes.
    """
    try:
        graph = ov.Core().read_model(source.file)
    except RuntimeError as error:
        raise UnknownSource(f"OpenVINO cannot read {source.file}: {error}") from error
    for port in graph.inputs:
        if not port.names & set(INPUT_NAMES):
            raise UnsupportedModel(
                f"{source.file} has an input {' or '.join(sorted(port.names)) or 'without a name'}; "
                f"a cross-encoder for text has only {', '.join(INPUT_NAMES)}"
            )
    if not any("input_ids" in port.names for port in graph.inputs):
        raise UnsupportedModel(f"{source.file} has no input input_ids; it is not a cross-encoder for text")
    _check_output(source.file, graph)
    for port in graph.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic or shape.rank.get_length() != 2 or any(size.is_static for size in shape):
            # What an exporter folded for one length cannot be unfolded.
            raise UnsupportedModel(f"{source.file} takes {shape} only; export it with dynamic shapes, [?,?]")
    return graph


def _check_output(file: Path, graph: ov.Model) -> None:
    if len(graph.outputs) != 1:
        raise UnsupportedModel(f"{file} has {len(graph.outputs)} outputs; a reranker has one, the logit")
    shape = graph.outputs[0].get_partial_shape()
    if shape.rank.is_dynamic or shape.rank.get_length() == 1:
        return  # the pair scored at the end tells
    last = shape[shape.rank.get_length() - 1]
    if shape.rank.get_length() != 2 or (last.is_static and last.get_length() != 1):
        raise UnsupportedModel(f"{file} gives {shape} for a batch; a reranker gives one logit a pair, [?,1]")
