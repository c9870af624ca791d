"""The body parser over whatever hypothesis thinks of: it answers or refuses, and never fails in another way."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from openvino_reranker.http_front.dialects import DIALECTS
from openvino_reranker.http_front.errors import error_response
from openvino_reranker.http_front.rerank_body import Refused, RerankBody, read_rerank_body
from openvino_reranker.protocol.limits import DEFAULT_LIMITS

KEYS = (
    "query", "documents", "texts", "top_k", "top_n", "return_documents", "return_text", "raw_scores", "use_activation",
    "score_threshold", "priority", "max_windows", "window_stride", "property", "model", "text", "id", "other",
)  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["true", "bulk", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)
documents = st.lists(st.text() | st.fixed_dictionaries({"text": st.text()}, optional={"id": values}), max_size=4)
likely = st.builds(
    lambda fields, query, listed: fields | {"query": query, "documents": listed}, objects, st.text(), documents
)


def read(raw: bytes, dialect: str) -> RerankBody | None:
    """Read a body; a refusal must be one that can be answered."""
    try:
        return read_rerank_body(raw, DIALECTS[dialect])
    except Refused as caught:
        wrong = caught
    answer = error_response(wrong.error, "rr-1", wrong.dialect.errors)
    assert answer.status_code in (400, 413, 422)
    json.loads(bytes(answer.body))
    assert len(wrong.error.message) < 2000
    return None


@settings(max_examples=200, deadline=None)
@given(objects | likely | values, st.sampled_from(sorted(DIALECTS)))
@example({"query": "q", "documents": [{"text": "d", "id": 10**400}]}, "")
@example({"query": "q", "documents": ["d"], "top_k": 10**400}, "")
@example({"query": "q", "documents": ["d"], "score_threshold": 10**400}, "")
@example({"query": "q", "texts": None, "documents": ["d"]}, "tei")
def test_any_json_is_read_or_refused(body: Any, dialect: str) -> None:
    found = read(json.dumps(body).encode(), dialect)
    if found is not None:
        named = body.get("texts") if body.get("texts") is not None else body["documents"]
        texts = [document if isinstance(document, str) else document["text"] for document in named]
        assert found.query.decode() == body["query"]
        assert [text.decode() for text in found.texts] == texts
        assert len(found.ids) == len(texts) <= DEFAULT_LIMITS.documents


GOOD = b'{"query":"q","documents":["d",{"text":"t"}]}'
spoiled = st.builds(
    lambda at, put: GOOD[:at] + put + GOOD[at:], st.integers(0, len(GOOD)), st.binary(min_size=1, max_size=4)
)


@settings(max_examples=200, deadline=None)
@given(st.binary() | spoiled)
@example(b'{"query":"q","documents":[{"text":"d","id":' + b"1" * 5000 + b"}]}")
@example(b'{"query":"q","documents":[{"text":"d","id":"\xff"}]}')
@example(b'{"query":"q","documents":["d"],"model":"\xff"}')
@example(b'\xef\xbb\xbf{"query":"q","documents":["d"]}')
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read(raw, "")
