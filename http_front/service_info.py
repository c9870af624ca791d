"""What the service reports about itself: liveness, readiness, model, figures."""

import os
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..client.aio import AsyncReranker
from ..protocol.errors import RerankError, Unavailable
from ..protocol.status_messages import Status
from .dialects import split_prefix
from .errors import HttpError, error_response, json_response, new_request_id
from .metrics import CONTENT_TYPE, exposition
from .rerank import is_model

#: How long the broker may take to answer for its status, s.
_STATUS_S = 2.0


class ServiceInfo:
    """The handlers of GET requests.

    Args:
        reranker: The connection to the broker.
        strict_model: Know the model that serves by its own name only.
    """

    def __init__(self, reranker: AsyncReranker, *, strict_model: bool) -> None:
        self._reranker = reranker
        self._strict_model = strict_model

    async def health(self, _request: Request) -> Response:
        """Report that the front is alive, without asking the broker."""
        return json_response({"ok": True, "version": __version__})

    async def ready(self, request: Request) -> Response:
        """Report whether a request would be answered now, and all figures to those allowed to see them."""
        try:
            status = await self._reranker.status(timeout=_STATUS_S)
        except RerankError as error:
            pids = {"pids": {"http": os.getpid()}} if request.state.admitted else {}
            return json_response({"ready": False, "reason": error.message} | pids, 503)
        body = _readiness(status) if request.state.admitted else {"ready": status.ready, "reason": status.reason}
        return json_response(body, 200 if status.ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the broker's counters as Prometheus reads them."""
        status = await self._status(request)
        if isinstance(status, Response):
            return status
        return Response(exposition(status), media_type=CONTENT_TYPE)

    async def info(self, request: Request) -> Response:
        """Describe the service as text-embeddings-inference does."""
        status = await self._status(request, ready=True)
        if isinstance(status, Response):
            return status
        worker, limits = status.worker, status.limits
        return json_response(
            {
                "model_id": worker.model,
                "model_sha": None,
                "model_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}.get(
                    worker.precision or "", worker.precision
                ),
                "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
                "max_concurrent_requests": limits.queued_pairs,
                "max_input_length": worker.max_length,
                "max_batch_tokens": worker.budget_tokens,
                "max_batch_requests": None,
                "max_client_batch_size": limits.documents,
                "auto_truncate": True,
                "tokenization_workers": 1,
                "version": __version__,
                "sha": None,
                "docker_label": None,
            }
        )

    async def models(self, request: Request) -> Response:
        """List the models: the one that is served, if any is."""
        status = await self._status(request)
        if isinstance(status, Response):
            return status
        served = [] if status.worker.model is None else [_model(status, status.worker.model)]
        return json_response({"object": "list", "data": served})

    async def model(self, request: Request) -> Response:
        """Describe the model that is served, under any name."""
        name: str = request.state.match["name"]
        status = await self._status(request, ready=True)
        if isinstance(status, Response):
            return status
        served = status.worker.model
        assert served is not None
        if self._strict_model and not is_model(name, served):
            error = HttpError(404, "model_not_found", f"model {name!r} is not served here; {served} is")
            return _refuse(request, error)
        return json_response(_model(status, name))

    async def _status(self, request: Request, *, ready: bool = False) -> Status | Response:
        """Return the broker's status, or the answer to give instead; ``ready``: only if there is a model."""
        try:
            status = await self._reranker.status(timeout=_STATUS_S)
            if ready and status.worker.model is None:
                raise Unavailable(status.reason)
        except RerankError as error:
            return _refuse(request, error)
        return status


def _refuse(request: Request, error: RerankError) -> Response:
    dialect, _ = split_prefix(request.scope["path"])
    return error_response(error, new_request_id(), dialect.errors)


def _model(status: Status, name: str) -> dict[str, Any]:
    """Describe the model as OpenAI, Xinference and Infinity do."""
    worker = status.worker
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "openvino-reranker",
        "model_type": "rerank",
        "model_name": worker.model,
        "max_tokens": worker.max_length,
        "device": worker.device,
        "precision": worker.precision,
        "capabilities": ["rerank"],
        "backend": "openvino",
    }


def _readiness(status: Status) -> dict[str, Any]:
    worker = status.worker
    return {
        "ready": status.ready,
        "reason": status.reason,
        "version": __version__,
        "model": worker.model,
        "device": worker.device,
        "precision": worker.precision,
        "max_length": worker.max_length,
        "worker": msgspec.to_builtins(worker),
        "queue": msgspec.to_builtins(status.queue),
        "counters": status.counters,
        "limits": msgspec.to_builtins(status.limits),
        "pids": status.pids() | {"http": os.getpid()},
        "uptime_s": status.uptime_s,
    }
