"""The OpenAPI document of this front, made of the tables that the handlers use.

Version 3.0.3, which every viewer and generator reads.
"""

from typing import Any

from .. import __version__
from ..protocol.limits import DEFAULT_LIMITS, MAX_WINDOW_STRIDE
from ..protocol.message import REQUEST_CLASSES
from .dialects import DIALECTS, Dialect
from .errors import TEI_ERRORS
from .rerank_answer import Document

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {
    "nullable": True,
    "oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false", "True", "False"]}],
}

_ERRORS = {
    400: "The request is wrong; the message says where.",
    401: "No valid API key, where one is needed.",
    403: "The Host or Origin is not allowed.",
    404: "There is no such path, or no such model (`--strict-model`).",
    405: "The method is not allowed; see `Allow`.",
    408: "The body did not arrive in time.",
    413: "Over a bound on documents or bytes, which the message names.",
    415: "A content encoding other than gzip.",
    422: "The request is wrong (in text-embeddings-inference's dialect).",
    429: "The queue is full; retry after `Retry-After` seconds.",
    500: "The model failed on the request twice, or an internal error of the front.",
    503: "No worker is ready, or the service is stopping.",
    504: "No answer within the request's time.",
}
_OF_RERANK = (400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504)
_OF_GET = (401, 403, 404, 500, 503)


def document() -> Schema:
    """Return the document."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "openvino-reranker",
            "version": __version__,
            "description": "A local rerank service for RAG. It speaks the rerank APIs of Cohere, Jina, Voyage, "
            "text-embeddings-inference, Infinity and vLLM: choose one by the path's prefix, or use the superset "
            "without one. All paths are also served with further version parts (`/v1`, `/v2`, …), as `/reranking`, "
            "and with a final slash.",
            "license": {"name": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        # Needed only where the service has keys.
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _paths() -> Schema:
    paths: Schema = {
        "/rerank": {"post": _rerank_operation(DIALECTS[""], "")},
        "/v1/rerank": {"post": _rerank_operation(DIALECTS[""], "V1")},
        "/v2/rerank": {"post": _rerank_operation(DIALECTS[""], "V2")},
    }
    for name, dialect in DIALECTS.items():
        if name:
            paths[f"/{name}/v1/rerank"] = {"post": _rerank_operation(dialect, "")}
    for path, summary, schema, statuses in (
        ("/healthz", "Whether the front is alive; needs no model and no key", "Health", ()),
        ("/readyz", "Whether a request would be answered now, and all figures", "Readiness", (503,)),
        ("/v1/models", "The model that is served", "Models", _OF_GET),
        ("/info", "The model as text-embeddings-inference describes it", "Info", _OF_GET),
    ):
        errors: dict[int, str] = dict.fromkeys(statuses, "Error")
        if path == "/readyz":
            errors = {503: "Readiness", 403: "Error"}
        paths[path] = {"get": _get_operation(path, summary, schema, errors or {403: "Error"})}
    paths["/v1/models/{name}"] = {
        "get": _get_operation("/v1/models/name", "One model, under any name", "Model", dict.fromkeys(_OF_GET, "Error"))
        | {
            "parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            ]
        }
    }
    paths["/metrics"] = {
        "get": {
            "summary": "Counters and gauges for Prometheus",
            "operationId": "metrics",
            "responses": {
                "200": {"description": "Text format 0.0.4.", "content": {"text/plain": {"schema": _TEXT}}},
                **_error_responses(_OF_GET, "Error"),
            },
        }
    }
    return paths


def _rerank_operation(dialect: Dialect, version: str) -> Schema:
    is_tei = dialect.errors is TEI_ERRORS
    error = "TeiError" if is_tei else "Error"
    statuses = tuple(sorted({*_OF_RERANK, *((422,) if is_tei or not dialect.name else ())}))
    if is_tei:
        answer: Schema = _ref("TeiResults")
    elif dialect.name == "voyage":
        answer = _ref("VoyageAnswer")
    elif dialect.name:
        answer = _ref("InfinityAnswer" if dialect.document is Document.STRING else "Answer")
    else:
        answer = {"anyOf": [_ref("Answer"), _ref("TeiResults"), _ref("WeaviateAnswer")]}
    return {
        "summary": f"Rerank documents, as {dialect.name} does" if dialect.name else "Rerank documents",
        "operationId": f"rerank{dialect.name.title()}{version}",
        "description": "Null fields count as absent; unlisted fields are ignored."
        + ("" if dialect.name else " A body with `texts` is answered as text-embeddings-inference does."),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("TeiRequest" if is_tei else "Request")}},
        },
        "responses": {
            "200": {
                "description": "The documents in order of relevance.",
                "headers": {"x-request-id": {"schema": _TEXT}},
                "content": {"application/json": {"schema": answer}},
            },
            **_error_responses(statuses, error if dialect.name else "AnyError"),
        },
    }


def _get_operation(path: str, summary: str, schema: str, errors: dict[int, str]) -> Schema:
    return {
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_"),
        "responses": {
            "200": {"description": "As it is now.", "content": {"application/json": {"schema": _ref(schema)}}},
            **{
                key: value
                for status, error in sorted(errors.items())
                for key, value in _error_responses((status,), error).items()
            },
        },
    }


def _error_responses(statuses: tuple[int, ...], schema: str) -> Schema:
    return {
        str(status): {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": _ref(schema)}},
            **({"headers": {"Retry-After": {"schema": _COUNT}}} if status == 429 else {}),
        }
        for status in statuses
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _nullable(schema: Schema) -> Schema:
    return schema | {"nullable": True}


def _schemas() -> Schema:
    limits = DEFAULT_LIMITS
    documents: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.documents,
        "items": {
            "anyOf": [
                {"type": "string", "maxLength": limits.document_bytes},
                _object({"text": _TEXT}, {"id": {"nullable": True, "anyOf": [_TEXT, {"type": "integer"}]}}),
            ]
        },
    }
    query: Schema = {"type": "string", "minLength": 1, "maxLength": limits.query_bytes, "pattern": r"\S"}
    options: Schema = {
        "top_k": _nullable(_COUNT) | {"description": "How many to return; 0 for all."},
        "top_n": _nullable(_COUNT) | {"description": "Another name of `top_k`; if both are given they must agree."},
        "return_documents": _FLAG,
        "raw_scores": _FLAG | {"description": "The score is the logit instead of its sigmoid."},
        "score_threshold": _nullable(_NUMBER) | {"description": "Leave out results whose score is below."},
        "max_windows": {"type": "integer", "nullable": True, "minimum": 1, "maximum": limits.windows},
        "window_stride": {"type": "integer", "nullable": True, "minimum": 1, "maximum": MAX_WINDOW_STRIDE},
        "priority": {
            "nullable": True,
            "oneOf": [{"type": "string", "enum": list(REQUEST_CLASSES)}, _COUNT],
            "description": "`bulk` may wait behind others. A number is Cohere's: 0 is interactive, more is bulk.",
        },
        "model": {"description": "Any name, or anything else, means the model that is served."},
    }
    result = {"index": _COUNT, "relevance_score": _NUMBER, "score": _NUMBER, "truncated": {"type": "boolean"}}
    windows = {"windows": _COUNT, "window": _object({"start": _COUNT, "end": _COUNT})}
    as_object = _object(result | windows, {"id": _TEXT, "document": _object({"text": _TEXT})})
    as_string = _object(result | windows, {"id": _TEXT, "document": _TEXT})
    return {
        "Request": _object({"query": query, "documents": documents}, options),
        "TeiRequest": _object({"query": query, "texts": documents}, options | {"return_text": _FLAG}),
        "Answer": _answer("results", as_object, "rerank"),
        "InfinityAnswer": _answer("results", as_string, "rerank"),
        "VoyageAnswer": _answer("data", as_string, "list"),
        "WeaviateAnswer": {
            "allOf": [
                _answer("results", as_object, "rerank"),
                _object({"scores": _list(_object({"document": _TEXT, "score": _NUMBER}))}),
            ]
        },
        "TeiResults": _list(_object({"index": _COUNT, "score": _NUMBER}, {"text": _TEXT})),
        "Error": _object(
            {
                "message": _TEXT,
                "detail": _TEXT,
                "error": _object({"message": _TEXT, "type": _TEXT, "code": {"type": "integer"}}),
                "request_id": _TEXT,
            }
        ),
        "TeiError": _object({"error": _TEXT, "error_type": _TEXT, "request_id": _TEXT}),
        "AnyError": {"anyOf": [_ref("Error"), _ref("TeiError")]},
        "Health": _object({"ok": {"type": "boolean"}, "version": _TEXT}),
        "Readiness": _object({"ready": {"type": "boolean"}, "reason": _TEXT}),
        "Model": _object(
            {"id": _TEXT, "object": _TEXT, "model_type": {"type": "string", "enum": ["rerank"]}, "model_name": _TEXT}
        ),
        "Models": _object({"object": {"type": "string", "enum": ["list"]}, "data": _list(_ref("Model"))}),
        "Info": _object(
            {
                "model_id": _TEXT,
                "model_dtype": _TEXT,
                "model_type": {"type": "object"},
                "max_input_length": _COUNT,
                "max_client_batch_size": _COUNT,
                "version": _TEXT,
            }
        ),
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _answer(results: str, result: Schema, kind: str) -> Schema:
    return _object(
        {
            "id": _TEXT,
            "object": {"type": "string", "enum": [kind]},
            "model": _TEXT,
            results: _list(result),
            "usage": _object({"prompt_tokens": _COUNT, "total_tokens": _COUNT}),
            "meta": {"type": "object"},
            "ok": {"type": "boolean"},
            "device": _TEXT,
            "precision": _TEXT,
            "npu_busy_delta_us": _nullable({"type": "integer"}),
            "cached": _COUNT,
            "timings_ms": _object({"queue": _NUMBER, "inference": _NUMBER, "total": _NUMBER}),
        }
    )
