"""Fuzz the body parser with Atheris: ``make fuzz``, or ``python -m … -max_total_time=SECONDS``. Not a test by itself.

Whatever the bytes, a body is read or refused; any other exception, a hang or growth beyond libFuzzer's limits is a
finding, and the bytes that led to it are written to the working folder.
"""

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # in an environment of its own: nothing here checks it

with atheris.instrument_imports(include=["openvino_reranker.http_front", "openvino_reranker.client"]):
    from openvino_reranker.http_front.content_encoding import inflate
    from openvino_reranker.http_front.dialects import DIALECTS
    from openvino_reranker.http_front.errors import error_response
    from openvino_reranker.http_front.rerank_body import Refused, read_rerank_body
    from openvino_reranker.protocol.errors import InvalidRequest

NAMES = sorted(DIALECTS)


def one(data: bytes) -> None:
    """Read one body, plain or packed, in a dialect that its first byte names."""
    if not data:
        return
    dialect, body = DIALECTS[NAMES[data[0] % len(NAMES)]], data[1:]
    if data[0] >= 128:
        try:
            body = bytes(inflate(body, 1 << 20))
        except InvalidRequest:
            return
    try:
        read_rerank_body(body, dialect)
    except Refused as wrong:
        error_response(wrong.error, "rr-1", wrong.dialect.errors)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
