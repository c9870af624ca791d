"""A model about to enter the cache: a graph in memory, and its description."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import openvino as ov

from ... import __version__
from ..errors import ModelUnusable
from ..inputs import feed, known_ports
from ..openvino_core import shared_core
from ..tokenization import PairTokenizer, QueryTooLong
from .card import MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE, ModelCard, sha256
from .errors import CacheUnwritable, ModelError, UnknownSource, UnsupportedModel
from .quantization import Progress, is_quantized, quantize

#: Anything wrong with a model's files shows in this pair, at no cost.
_PROBE = ("a query", "and a passage that answers it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A builder's result; ``finish`` writes it to a folder."""

    graph: ov.Model
    tokenizer: Path
    name: str
    source: str
    revision: str
    licence: str | None
    architecture: str
    layers: int | None
    max_length: int
    how: Literal["built", "given"]

    def finish(self, folder: Path, precision: str, progress: Progress) -> ModelCard:
        """Write ``model.xml``, ``model.bin`` and ``tokenizer.json``, read them back, score a pair; return the card.

        Args:
            folder: Where to.
            precision: Of the weights, one of ``PRECISIONS``.
            progress: Called with the progress of quantising.

        Raises:
            UnsupportedModel: The pair has no finite logit.
            UnknownSource: The tokenizer cannot be read.
            QuantizerMissing: nncf is not installed.
            CacheUnwritable: OpenVINO could not write the model.
            ModelError: What was written cannot be read back and run.
        """
        shutil.copyfile(self.tokenizer, folder / TOKENIZER_FILE)
        try:
            tokenizer = PairTokenizer(folder / TOKENIZER_FILE, self.max_length)
        except ModelUnusable as error:
            raise UnknownSource(f"{TOKENIZER_FILE} is not a tokenizer: {error}") from error
        graph = self.graph
        if precision == "int8" and not is_quantized(graph):
            graph = quantize(graph, tokenizer, progress)
        try:
            ov.save_model(graph, folder / MODEL_FILE, compress_to_fp16=True)
        except RuntimeError as error:
            raise CacheUnwritable(f"OpenVINO cannot write the model (is the disk full?): {error}") from error
        _score_probe(folder, tokenizer, self.name)
        return ModelCard(
            # Logits of other weights are another model's: the name must show that.
            name=self.name if precision == "fp16" else f"{self.name} ({precision})",
            source=self.source,
            revision=self.revision,
            licence=self.licence,
            architecture=self.architecture,
            layers=self.layers,
            max_length=self.max_length,
            precision=precision,
            how=self.how,
            created_by=__version__,
            files={name: sha256(folder / name) for name in (MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE)},
        )


def _score_probe(folder: Path, tokenizer: PairTokenizer, name: str) -> None:
    """Read the saved model back and score a pair with it: this detects a truncated file as well as a broken model."""
    query, passage = _PROBE
    try:
        rows = tokenizer.encode(query, [passage])
        compiled = shared_core().compile_model(folder / MODEL_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        logits = compiled(feed(known_ports(compiled.inputs), rows))[0].reshape(-1)
    except QueryTooLong as error:
        raise UnsupportedModel(
            f"{name} takes rows of {tokenizer.max_length} tokens: too short for a reranker"
        ) from error
    except RuntimeError as error:
        raise ModelError(f"{name} cannot be read back and run after writing it: {error}") from error
    if logits.shape != (1,) or not math.isfinite(float(logits[0])):
        raise UnsupportedModel(f"{name} gives {logits.tolist()} for a pair, not one finite logit: it is not a reranker")
