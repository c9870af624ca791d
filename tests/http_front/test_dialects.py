"""Every dialect's answer and errors, and the tolerance that real clients need, against the running service."""

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openvino_reranker.http_front.dialects import DIALECTS, PLAIN, split_prefix
from openvino_reranker.tests.processes import Program, Service

QUERY = "what is bread?"
TEXTS = ["The sky is blue.", "Bread is baked dough.", ""]
GOOD: dict[str, Any] = {"query": QUERY, "documents": TEXTS}
TEI_BODY: dict[str, Any] = {"query": QUERY, "texts": TEXTS}


def answer(service: Service, path: str, body: dict[str, Any]) -> Any:
    response = service.post(body, path)
    assert response.status_code == 200, response.text
    return response.json()


def check_order(results: list[dict[str, Any]], score: str) -> None:
    assert sorted(result["index"] for result in results) == [0, 1, 2]
    assert results[0]["index"] == 1
    scores = [result[score] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= value <= 1 for value in scores)


def test_a_prefix_is_the_first_part_of_a_path_and_nothing_else() -> None:
    assert split_prefix("/voyage/v1/rerank") == (DIALECTS["voyage"], "/v1/rerank")
    for path in ("/rerank", "/voyageur/rerank", "/v1/voyage/rerank", "voyage/rerank", "/voyage", "*", "", "/tei\n"):
        assert split_prefix(path) == (PLAIN, path)


@pytest.mark.parametrize("prefix", ["", "/cohere", "/jina", "/vllm", "/infinity"])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/v2/rerank/", "/reranking"])
def test_most_dialects_are_the_superset(service: Service, prefix: str, path: str) -> None:
    body = answer(service, prefix + path, GOOD | {"model": "any-name"})
    assert body["object"] == "rerank"
    assert isinstance(body["id"], str)
    assert body["model"]
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
    assert body["meta"]["api_version"]["version"] == "2"
    assert body["meta"]["billed_units"]["search_units"] == 1
    assert isinstance(body["meta"]["warnings"], list)
    check_order(body["results"], "relevance_score")


def test_documents_are_shown_in_each_dialects_form(service: Service) -> None:
    asked = GOOD | {"return_documents": True}
    for path, documents in (
        ("/rerank", {"text": TEXTS[1]}),
        ("/cohere/v1/rerank", {"text": TEXTS[1]}),
        ("/jina/v1/rerank", {"text": TEXTS[1]}),
        ("/infinity/rerank", TEXTS[1]),
    ):
        assert answer(service, path, asked)["results"][0]["document"] == documents
    assert answer(service, "/vllm/rerank", GOOD)["results"][0]["document"] == {"text": TEXTS[1]}
    assert answer(service, "/voyage/rerank", asked)["data"][0]["document"] == TEXTS[1]
    assert answer(service, "/rerank", TEI_BODY | {"return_text": True})[0]["text"] == TEXTS[1]


def test_voyage(service: Service) -> None:
    body = answer(service, "/voyage/v1/rerank", GOOD | {"top_k": 2, "truncation": True})
    assert body["object"] == "list"
    assert "results" not in body
    assert len(body["data"]) == 2
    assert body["data"][0]["index"] == 1
    assert body["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("path", ["/rerank", "/tei/rerank"])
def test_text_embeddings_inference(service: Service, path: str) -> None:
    results = answer(service, path, TEI_BODY)
    check_order(results, "score")
    assert set(results[0]) == {"index", "score"}
    raw = answer(service, path, TEI_BODY | {"raw_scores": True})
    for result, logit in zip(results, raw, strict=True):
        assert result["score"] == pytest.approx(1 / (1 + math.exp(-logit["score"])))


def test_weaviate(service: Service) -> None:
    body = answer(service, "/rerank", GOOD | {"property": ""})
    assert body["scores"][0]["document"] == TEXTS[1]
    assert len(body["scores"]) == 3
    refused = service.post({"query": "", "documents": ["a"], "property": ""})
    assert refused.status_code == 400
    assert refused.json()["error"] == "query is empty"


def test_raw_scores_and_a_threshold(service: Service) -> None:
    whole = answer(service, "/rerank", GOOD)["results"]
    raw = answer(service, "/rerank", GOOD | {"raw_scores": "true"})["results"]
    assert [result["relevance_score"] for result in raw] == [result["score"] for result in whole]
    assert answer(service, "/vllm/rerank", GOOD | {"use_activation": False})["results"][0]["relevance_score"] > 1
    least = whole[0]["relevance_score"]
    assert len(answer(service, "/rerank", GOOD | {"score_threshold": least})["results"]) == 1
    assert answer(service, "/rerank", GOOD | {"score_threshold": 1.1})["results"] == []


OPTIONAL = (
    "top_k", "top_n", "return_documents", "return_text", "raw_scores", "use_activation", "score_threshold", "priority",
    "model", "property", "truncate", "truncation", "truncation_direction", "truncate_prompt_tokens", "instruction",
    "max_tokens_per_doc", "max_chunks_per_doc", "rank_fields", "user", "kwargs", "return_len", "relevant_spans",
)  # fmt: skip


def test_what_clients_send_besides_is_taken(service: Service) -> None:
    nulls = dict.fromkeys(OPTIONAL)
    for path, body in (("/rerank", GOOD), ("/tei/rerank", TEI_BODY), ("/voyage/rerank", GOOD)):
        assert service.post(body | nulls, path).status_code == 200
    assert service.post({**GOOD, **nulls, "texts": None}).json()["object"] == "rerank"
    for extra in (
        {"truncate": False},
        {"truncate": True, "truncation_direction": "RIGHT"},
        {"truncation_direction": "left"},
        {"max_tokens_per_doc": 4096, "max_chunks_per_doc": 10},
        {"instruction": "Find the answer."},
        {"rank_fields": ["text"]},
        {"kwargs": "{}"},
        {"model": ["odd"]},
        {"relevant_spans": {"mode": "x"}},
        {"encoding_format": "base64", "user": 5},
    ):
        assert service.post(GOOD | extra).status_code == 200, extra


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/tei/rerank", {"query": "q"}, 422, "Validation"),
        ("/tei/rerank", {"query": "q", "texts": []}, 400, "Empty"),
        ("/rerank", {"query": "q", "texts": []}, 400, "Empty"),
        ("/rerank", {"query": 5, "texts": ["a"]}, 422, "Validation"),
        ("/tei/rerank", {"query": "q", "texts": ["a"] * 1001}, 413, "Validation"),
        ("/tei/rerank", {"query": "w " * 600, "texts": ["a"]}, 422, "Validation"),
        ("/tei/nothing", {}, 404, "Backend"),
    ],
)
def test_errors_of_text_embeddings_inference(
    service: Service, path: str, body: dict[str, Any], status: int, kind: str
) -> None:
    refused = service.post(body, path)
    assert refused.status_code == status
    assert isinstance(refused.json()["error"], str)
    assert refused.json()["error_type"] == kind


@pytest.mark.parametrize("prefix", ["/cohere", "/jina", "/vllm", "/infinity", "/voyage"])
def test_errors_of_the_others_can_be_read_by_all_their_clients(service: Service, prefix: str) -> None:
    refused = service.post({"query": "", "documents": ["a"]}, prefix + "/v1/rerank")
    assert refused.status_code == 400
    body = refused.json()
    assert body["message"] == body["detail"] == body["error"]["message"] == "query is empty"
    assert body["error"]["code"] == 400
    assert body["request_id"] == refused.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/healthz", "/health", "/ping", "/.well-known/live", "/health/", "/tei/health"])
def test_health_has_many_names(service: Service, path: str) -> None:
    assert httpx.get(service.url + path).json()["ok"] is True
    assert httpx.head(service.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/.well-known/ready"])
def test_so_has_readiness(service: Service, path: str) -> None:
    assert httpx.get(service.url + path).json()["ready"] is True


@pytest.mark.parametrize("path", ["/info", "/tei/info"])
def test_info_is_that_of_text_embeddings_inference(service: Service, path: str) -> None:
    info = httpx.get(service.url + path).json()
    assert info["model_id"] == "packaged:ms-marco-MiniLM-L-12-v2"
    assert "reranker" in info["model_type"]
    assert info["max_input_length"] == 512
    assert info["max_client_batch_size"] == 1000


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/infinity/models", "/v1/models/"])
def test_models_are_listed(service: Service, path: str) -> None:
    listed = httpx.get(service.url + path).json()
    assert listed["object"] == "list"
    [model] = listed["data"]
    assert (model["id"], model["model_type"]) == ("packaged:ms-marco-MiniLM-L-12-v2", "rerank")


@pytest.mark.parametrize("name", ["bge-reranker", "BAAI/bge-reranker-v2-m3", "a%2Fb"])
def test_a_model_is_known_by_any_name(service: Service, name: str) -> None:
    model = httpx.get(f"{service.url}/v1/models/{name}").json()
    assert model["id"] == name.replace("%2F", "/")
    assert model["model_type"] == "rerank"
    assert model["model_name"] == "packaged:ms-marco-MiniLM-L-12-v2"


@pytest.mark.parametrize("model", ["another", "x" * 2000, 7, ["m"], {"name": "m"}])
def test_where_the_model_must_be_the_one_that_serves_no_other_will_do(strict_url: str, model: object) -> None:
    refused = httpx.post(strict_url, json=GOOD | {"model": model})
    assert refused.status_code == 404, refused.text
    assert len(refused.content) < 1000  # what is long is not sent back


def test_where_the_model_must_be_the_one_that_serves_it_need_not_be_named(strict_url: str, service: Service) -> None:
    for body in (GOOD, GOOD | {"model": None}, GOOD | {"model": service.status().worker.model}):
        assert httpx.post(strict_url, json=body).status_code == 200


@pytest.fixture(scope="module")
def strict_url(service: Service) -> Iterator[str]:
    """The rerank URL of a second front of the same service, with ``--strict-model yes``."""
    with Program("http", "--port", "0", "--strict-model", "yes", **service.settings) as front:
        yield f"http://127.0.0.1:{front.wait_for_line('listening on').rsplit(' ', 1)[1]}/rerank"
