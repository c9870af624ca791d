"""The model's answer, taken from an inference request that has ended."""

from math import isfinite
from typing import Any


def read_logits(request: Any) -> list[float] | Exception:
    """Return the logits of a request that has ended, one a row, or why it has none.

    It is an ``ArithmeticError`` where a logit is NaN or infinite.
    """
    try:
        request.wait()
        logits: list[float] = request.get_output_tensor(0).data.reshape(-1).tolist()
    except Exception as error:
        return error
    if not all(map(isfinite, logits)):
        return ArithmeticError(f"the device returned {logits}: not all are finite")
    return logits
