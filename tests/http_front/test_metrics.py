"""``/metrics`` holds what the broker counted, under names Prometheus takes."""

import httpx
from openvino_reranker.tests.processes import Service
from prometheus_client.parser import text_string_to_metric_families


def scrape(service: Service) -> dict[str, float]:
    answer = httpx.get(service.url + "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_counters_rise_with_what_happens(service: Service) -> None:
    before = scrape(service)
    service.post({"query": "metrics", "documents": ["one", "two", "two", " ".join(map(str, range(3000)))]})
    service.post({"query": "w " * 600, "documents": ["too long a query"]})
    after = scrape(service)

    def rise(name: str) -> float:
        return after[f"reranker_{name}"] - before[f"reranker_{name}"]

    assert rise("requests_total") == 2
    assert rise("pairs_total") == 5
    assert rise("joined_pairs_total") == 1
    assert rise("truncated_pairs_total") == 1
    assert rise("requests_refused_total invalid") == 1
    assert rise("requests_failed_total") == 0
    assert rise("padded_tokens_total") >= rise("tokens_total") > 512
    assert 0 < rise("inference_seconds_total") < 60
    assert rise("batches_total") >= 1
    assert after["reranker_ready"] == 1
    assert after["reranker_queued_pairs"] == 0
    (info,) = (name for name in after if name.startswith("reranker_info "))
    assert set(info.split()[1:]) == {"packaged:ms-marco-MiniLM-L-12-v2", "CPU", "f32"}
    for reason in ("invalid", "overloaded", "unavailable"):
        assert f"reranker_requests_refused_total {reason}" in after


def test_it_is_a_page_like_the_others(service: Service) -> None:
    assert httpx.post(service.url + "/metrics").status_code == 405
