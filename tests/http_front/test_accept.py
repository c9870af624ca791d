"""Who gets HTML, and who gets JSON, of what is there for both."""

import pytest
from openvino_reranker.http_front.accept import prefers_html


@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",  # a browser
        "text/html",
        "TEXT/HTML;level=1",
        "application/json;q=0.5, text/html;q=0.6",
        "text/html;q=1, text/*;q=0.5, */*;q=0.01",  # w3m and others
    ],
)
def test_browsers_get_html(accept: str) -> None:
    assert prefers_html(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",  # curl, httpx
        "application/json",
        "application/json, text/plain, */*",  # axios
        "application/json, text/html;q=0.9",
        "text/html;q=0",
        "text/html;q=none",
        ",;=,",
    ],
)
def test_programs_get_json(accept: str) -> None:
    assert not prefers_html(accept)
