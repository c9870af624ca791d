"""Long documents over HTTP: how they were read, the best window, and what is refused."""

import pytest
from openvino_reranker.tests.processes import Service

QUESTION = "How many people live in Berlin?"
ANSWER = "Berlin had a population of 3,520,031 registered inhabitants."
LONG = "naïve 東京 filler, one of many sentences. " * 120 + ANSWER


def test_the_answer_names_the_window_that_won(service: Service) -> None:
    body = service.post({"query": QUESTION, "documents": ["short", LONG], "max_windows": 8}).json()
    best, other = body["results"]
    assert (best["index"], best["truncated"]) == (1, False)
    assert best["windows"] > 1
    assert ANSWER in LONG[best["window"]["start"] : best["window"]["end"]]
    assert (other["windows"], other["window"]) == (1, {"start": 0, "end": 5})
    assert body["precision"] == "f32"
    again = service.post({"query": QUESTION, "documents": ["short", LONG], "max_windows": 8}).json()
    assert again["cached"] == 2
    assert again["results"] == body["results"]


def test_one_window_truncates_and_warns(service: Service) -> None:
    body = service.post({"query": QUESTION, "documents": [LONG], "max_windows": 1}).json()
    (result,) = body["results"]
    assert (result["truncated"], result["windows"]) == (True, 1)
    assert 0 < result["window"]["end"] < len(LONG)
    assert body["meta"]["warnings"] == ["1 of the returned documents were not read to their end"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_windows", 65, "max_windows is 65; it must be 1 to 64"),
        ("max_windows", 0, "max_windows is 0; it must be 1 to 64"),
        ("max_windows", "4", "max_windows must be a whole number"),
        ("window_stride", 0, "window_stride is 0; it must be 1 to"),
        ("window_stride", True, "window_stride must be a whole number"),
    ],
)
def test_bad_values_are_400_with_the_bound(service: Service, field: str, value: object, message: str) -> None:
    response = service.post({"query": QUESTION, "documents": [ANSWER], field: value})
    assert response.status_code == 400
    assert message in response.json()["message"]


def test_null_means_the_default(service: Service) -> None:
    response = service.post({"query": QUESTION, "documents": [ANSWER], "max_windows": None, "window_stride": None})
    assert response.status_code == 200


def test_no_cache_asks_the_device_again(service: Service) -> None:
    body = {"query": QUESTION, "documents": ["asked twice"]}
    first = service.post(body).json()
    again = service.post(body, headers={"Cache-Control": "no-cache"}).json()
    known = service.post(body).json()
    assert (first["cached"], again["cached"], known["cached"]) == (0, 0, 1)
    assert again["timings_ms"]["inference"] > 0
