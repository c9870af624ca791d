"""Whether a request comes from a browser: its ``Accept`` names HTML."""


def prefers_html(accept: str) -> bool:
    """Return whether an ``Accept`` header names ``text/html``, and JSON not before it."""
    html = json = 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        quality = next((_quality(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
        if kind == "text/html":
            html = max(html, quality)
        elif kind in ("application/json", "application/*"):
            json = max(json, quality)
    return html > 0 and html >= json


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
