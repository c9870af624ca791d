"""Full int8 after training: weights and activations of every matrix product, ranged on our own pairs.

Weights get 7 of the 8 bits (nncf's overflow fix). A CPU without VNNI adds two products of an unsigned and a signed
byte in 16 bits, which saturate with the eighth: scores are wrong there, silently. With 7 bits a model may be quantised
on one machine and served on any other.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import openvino as ov

from ..inputs import Arrays, Ports, feed, known_ports
from ..tokenization import PairTokenizer, QueryTooLong
from .calibration import pairs
from .errors import QuantizerMissing

#: Names of operations left in float: on one number a pair the head's rounding costs more than its speed gains.
_KEPT = (r"bert\.pooler\..*", r"classifier.*")
#: How much of the activations' range SmoothQuant moves into the weights (0 to 1).
_SMOOTHING = 0.8
#: Every n-th of the calibration's pairs is used, spread over all of them: 25, two passes of 3,500 tokens.
_EVERY = 3
#: nncf reads the pairs once for SmoothQuant and once for the ranges.
_PASSES = 2

#: Takes the share of the calibration that is done, 0 to 1.
Progress = Callable[[float], None]


def is_quantized(graph: ov.Model) -> bool:
    """Return whether the activations of a graph are quantised already."""
    return any(operation.get_type_name() == "FakeQuantize" for operation in graph.get_ops())


def quantize(graph: ov.Model, tokenizer: PairTokenizer, progress: Progress) -> ov.Model:
    """Return the graph in int8; takes about 15 s for 12 layers on two cores.

    Args:
        graph: In fp32, with dynamic shapes.
        tokenizer: Of the model.
        progress: Called with its progress.

    Raises:
        QuantizerMissing: nncf is not installed.
    """
    try:
        import nncf  # takes a second and is needed here only
    except ImportError as error:
        raise QuantizerMissing(
            f"int8 weights need nncf ({error}): pip install 'openvino-reranker[int8]', or pull with --precision fp16"
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    feeds = list(_feeds(known_ports(graph.inputs), tokenizer))
    read = 0

    def count(arrays: Arrays) -> Arrays:
        nonlocal read
        progress(min(1.0, read / (_PASSES * len(feeds))))
        read += 1
        return arrays

    # nncf draws its progress bars on standard output, which belongs to the command line.
    with contextlib.redirect_stdout(io.StringIO()):
        quantized: ov.Model = nncf.quantize(
            graph,
            nncf.Dataset(feeds, count),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(feeds),
            ignored_scope=nncf.IgnoredScope(patterns=list(_KEPT), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING),
            ),
        )
    progress(1.0)
    return quantized


def _feeds(ports: Ports, tokenizer: PairTokenizer) -> Iterator[dict[str, Any]]:
    for query, passage in list(pairs())[::_EVERY]:
        # A model of short rows may have no room for a long query.
        with contextlib.suppress(QueryTooLong):
            yield feed(ports, tokenizer.encode(query, [passage]))
