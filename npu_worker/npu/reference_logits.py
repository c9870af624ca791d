"""What a model must answer: fixed pairs for each bucket, and their logits in f32.

The logits come from the CPU plugin in f32 and from the very file that the NPU gets, once for each model, and are
kept beside its compiled buckets. So they exist for every model, also one that was made ready elsewhere, and what
computed them shares neither compiler, driver nor arithmetic with what is tested.
"""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ...daemon.atomic_write import write_atomically
from ..errors import ModelUnusable
from ..inputs import feed, known_ports
from ..openvino_core import shared_core
from ..tokenization import PairTokenizer, Row

logger = logging.getLogger("openvino_reranker.worker")

_QUERY = "how many people live in berlin?"
_RELEVANT = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers. "
_IRRELEVANT = "New York City is famous for the Metropolitan Museum of Art. "
_FILLER = "The weather was fine that day, and nobody had anything to say about it. "


class Kept(msgspec.Struct, frozen=True):
    """The file: logits by row, and a checksum over them."""

    logits: dict[str, float]
    sha256: str


def make_rows(tokenizer: PairTokenizer, tokens: int) -> list[Row]:
    """Return a bucket's fixed rows: two short ones, which test the mask, and two that fill it to the last token."""
    filler = _FILLER * (tokens // 8 + 1)
    passages = [_RELEVANT, _IRRELEVANT, _RELEVANT + filler, _IRRELEVANT + filler]
    return [_cut(row, tokens) for row in tokenizer.encode(_QUERY, passages)]


def _cut(row: Row, tokens: int) -> Row:
    if len(row) <= tokens:
        return row
    return Row(row.ids[: tokens - 1] + row.ids[-1:], row.types[: tokens - 1] + row.types[-1:], True)


class Reference:
    """The f32 logits of a model's fixed rows.

    Args:
        model: The ``model.xml``.
        path: The file in which they are kept; its name holds the model's hash.
    """

    def __init__(self, model: Path, path: Path) -> None:
        self._model = model
        self._path = path
        self._logits = self._load()

    def of(self, rows: Sequence[Row]) -> list[float]:
        """Return the rows' logits; those not known yet are computed (tens of ms each) and kept.

        Raises:
            ModelUnusable: One of them is NaN or infinite.
        """
        keys = [_key(row) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._logits}
        if missing:
            self._logits |= dict(zip(missing, _compute(self._model, list(missing.values())), strict=True))
            self._keep()
        return [self._logits[key] for key in keys]

    def _load(self) -> dict[str, float]:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return {}
        return kept.logits if kept.sha256 == _sum(kept.logits) else {}

    def _keep(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path, msgspec.json.encode(Kept(self._logits, _sum(self._logits))))
        except OSError as error:
            logger.warning("the reference logits cannot be cached: %s", error)


def _compute(model: Path, rows: Sequence[Row]) -> list[float]:
    """Score rows on the CPU, one by one."""
    # Unless told otherwise, many CPUs compute in bf16, and quantise what meets compressed weights.
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    compiled = shared_core().compile_model(model, "CPU", options)
    ports = known_ports(compiled.inputs)
    logits = [float(compiled(feed(ports, [row]))[0].reshape(-1)[0]) for row in rows]
    if not all(map(math.isfinite, logits)):
        raise ModelUnusable(f"{model} returns {logits} on the CPU in f32: NaN or infinity")
    return logits


def _key(row: Row) -> str:
    return hashlib.sha256(f"{row.ids} {row.types}".encode()).hexdigest()[:32]


def _sum(logits: Mapping[str, float]) -> str:
    return hashlib.sha256(msgspec.json.encode(dict(sorted(logits.items())))).hexdigest()
