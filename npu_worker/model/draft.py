"""A model on its way into the cache: a graph in memory, and what is known of it."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openvino as ov

from ... import __version__
from .card import MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE, ModelCard, sha256
from .errors import CacheUnwritable, ModelError, UnsupportedModel
from .feed import feed_of, read_tokenizer
from .quantization import is_quantized, quantize

#: Whatever is wrong with a model's own files shows in this pair, and it costs nothing.
_PROBE = ("a query", "and a passage that answers it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a builder hands over; ``finish`` makes a folder of it."""

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

    def finish(self, folder: Path, precision: str) -> ModelCard:
        """Write ``model.xml``, ``model.bin`` and ``tokenizer.json``, read them back, score a pair; return the card.

        Raises:
            UnsupportedModel: The pair has no finite logit.
            UnknownSource: The tokenizer cannot be read.
            QuantizerMissing: nncf is not installed.
            CacheUnwritable: OpenVINO could not write the model.
        """
        shutil.copyfile(self.tokenizer, folder / TOKENIZER_FILE)
        tokenizer = read_tokenizer(folder / TOKENIZER_FILE, self.max_length)
        graph = self.graph
        if precision == "int8" and not is_quantized(graph):
            graph = quantize(graph, tokenizer)
        try:
            ov.save_model(graph, folder / MODEL_FILE, compress_to_fp16=True)
        except RuntimeError as error:
            raise CacheUnwritable(f"OpenVINO cannot write the model (is the disk full?): {error}") from error
        _score_probe(folder, tokenizer, self.name)
        return ModelCard(
            # Logits of other weights are another model's: whoever sees the name must see that.
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


def _score_probe(folder: Path, tokenizer: Any, name: str) -> None:
    """Read the saved model back and score a pair with it: this finds a cut file as well as a broken model."""
    try:
        compiled = ov.Core().compile_model(folder / MODEL_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        logits = compiled(feed_of(compiled, tokenizer, *_PROBE))[0].reshape(-1)
    except RuntimeError as error:
        raise ModelError(f"{name} cannot be read back and run after writing it: {error}") from error
    if logits.shape != (1,) or not math.isfinite(float(logits[0])):
        raise UnsupportedModel(f"{name} gives {logits.tolist()} for a pair, not one finite logit: it is no reranker")
