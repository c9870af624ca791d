"""A run's numbers as a table and as a chart."""

from collections.abc import Mapping
from html import escape
from typing import Any

#: The chart follows the reader's colours; the service's bar is the darker one.
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .quiet { fill: #59636e }
  .title { font-weight: 600 } .ours { fill: #0969da } .theirs { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .ours { fill: #4493f8 } .theirs { fill: #656c76 }
  }
"""
_ROW, _LABEL, _BAR, _VALUE = 26, 230, 400, 90


def table(result: Mapping[str, Any]) -> str:
    """Return the numbers in Markdown, with what they were measured on."""
    machine, peers = result["machine"], result["peers"]
    loads = [load["name"] for load in result["loads"]]
    lines = [
        f"{result['date']}, {machine['cores']} cores of {machine['cpu']} ({', '.join(machine['instructions'])}), "
        f"{machine['memory_gb']} GB, Linux {machine['kernel']}, Python {machine['python']}; {result['turns']} turns. "
        f"Pairs/s (p50 / p95 of a request, ms).",
        "",
        "| | " + " | ".join(loads) + " | nDCG@10 | peak memory, MB | ready after, s |",
        "|---|" + "---|" * (len(loads) + 3),
    ]
    for peer in peers:
        cells = [
            f"{found['pairs_per_s']} ({found['p50_ms']} / {found['p95_ms']})"
            for found in (peer["loads"][load] for load in loads)
        ]
        rest = f"{peer['ndcg@10']:.4f} | {peer['peak_mb']:.0f} | {peer['ready_s']}"
        lines.append(f"| {peer['name']} | " + " | ".join(cells) + f" | {rest} |")
    lines += ["", *_comparisons(loads, peers), ""]
    for peer in peers[1:]:
        named = ", ".join(f"{name} {version}" for name, version in sorted(peer["packages"].items()))
        lines.append(f"- {peer['name']}: {named}")
    return "\n".join(lines) + "\n"


def _comparisons(loads: list[str], peers: list[Any]) -> list[str]:
    """Return a sentence for each load: the service as a multiple of the best peer, whoever is ahead."""
    sentences = []
    for load in loads:
        ours = peers[0]["loads"][load]["pairs_per_s"]
        best = max(peers[1:], key=lambda peer: float(peer["loads"][load]["pairs_per_s"]))
        ratio = ours / best["loads"][load]["pairs_per_s"]
        ahead = "" if ratio >= 1 else "; it is the faster one here"
        sentences.append(f"- {load}: {ratio:.2f} times the best peer ({best['name']}){ahead}")
    return sentences


def chart(result: Mapping[str, Any]) -> str:
    """Return pairs/s with eight callers as bars, an SVG for light and dark pages."""
    peers = result["peers"]
    loads = [load["name"] for load in result["loads"] if load["callers"] > 1]
    width = _LABEL + _BAR + _VALUE
    panel = _ROW * (len(peers) + 2)
    machine = result["machine"]
    parts = []
    for number, load in enumerate(loads):
        top = number * panel
        most = max(peer["loads"][load]["pairs_per_s"] for peer in peers)
        parts.append(f'<text class="title" x="0" y="{top + 18}">{escape(load)}: pairs/s</text>')
        for row, peer in enumerate(peers, 1):
            rate, y = peer["loads"][load]["pairs_per_s"], top + row * _ROW
            length = max(1, round(_BAR * rate / most))
            parts += [
                f'<text x="{_LABEL - 8}" y="{y + 17}" text-anchor="end">{escape(peer["name"])}</text>',
                f'<rect class="{"theirs" if row > 1 else "ours"}" x="{_LABEL}" y="{y + 4}" width="{length}" '
                f'height="{_ROW - 8}" rx="3"/>',
                f'<text x="{_LABEL + length + 8}" y="{y + 17}">{rate:g}</text>',
            ]
    bottom = len(loads) * panel
    where = f"{result['date']}, {machine['cores']} cores of {machine['cpu']} ({', '.join(machine['instructions'])})"
    parts.append(f'<text class="quiet" x="0" y="{bottom + 6}">{escape(where)}</text>')
    size = f'width="{width}" height="{bottom + 16}" viewBox="0 0 {width} {bottom + 16}"'
    title = f"<title>Pairs a second of {len(peers)} rerankers</title>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{title}\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
