"""The report of ``doctor --npu``: Markdown with what a maintainer asks first, and nothing personal."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ... import __version__
from .findings import Finding


def as_markdown(findings: Sequence[Finding], results: Mapping[str, Any], private: Mapping[str, str]) -> str:
    """Return the report.

    Args:
        findings: What ``doctor`` found.
        results: ``trial`` and ``sweep`` as far as they got, ``failed`` with what stopped them.
        private: Texts that must not be in it, such as paths, and their replacements.
    """
    facts = machine_facts()
    parts = [
        f"# NPU report of openvino-reranker {__version__}",
        _table(("", ""), facts.items()),
        "## Findings",
        _table(
            ("level", "about", "found", "to do"),
            [
                (each.level, each.about, each.found, each.to_do)
                for each in sorted(findings, key=lambda each: each.level == "ok")
            ],
        ),
    ]
    if failed := results.get("failed"):
        parts += ["## What stopped it", f"```\n{failed}\n```"]
    if trial := results.get("trial"):
        parts += _trial(trial)
    if sweep := results.get("sweep"):
        parts += _sweep(sweep)
    everything = {"machine": facts, "findings": [asdict(each) for each in findings], **results}
    parts += ["## Everything, as JSON", f"```json\n{json.dumps(everything, indent=1, ensure_ascii=False)}\n```"]
    return without("\n\n".join(parts) + "\n", private)


def without(text: str, private: Mapping[str, str]) -> str:
    """Return a text with what is private replaced, the longest first."""
    for secret, instead in sorted(private.items(), key=lambda item: -len(item[0])):
        if len(secret) > 1:
            text = text.replace(secret, instead)
    return text


def private_texts(folders: Mapping[Path | None, str]) -> dict[str, str]:
    """Return what must not be in a report, and its replacement: the home, and these folders' paths."""
    private = {str(folder): f"<{name}>" for folder, name in folders.items() if folder is not None}
    return private | {str(Path.home()): "~"}


def machine_facts() -> dict[str, str]:
    """Return what a maintainer asks first about a machine."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        system = "unknown"
    return {
        "system": system,
        "kernel": os.uname().release,
        "processor": _line_of("/proc/cpuinfo", "model name"),
        "memory": _line_of("/proc/meminfo", "MemTotal"),
        "Python": platform.python_version(),
    }


def _trial(trial: Mapping[str, Any]) -> list[str]:
    npu, model = trial["npu"], trial["model"]
    about = {
        "NPU": f"{npu['name']}, architecture {npu['architecture']}",
        "OpenVINO, driver, compiler": f"{npu['openvino']}, {npu['driver']}, {npu['compiler']}",
        "options": " ".join(f"{name}={value}" for name, value in sorted(npu["options"].items())),
        "model": f"{model['name']}, {model['layers']} layers, {model['precision']}, {model['size_mb']} MB",
        "rows in flight": str(trial["requests"]),
        "DEVICE_GOPS": json.dumps(trial["device_gops"]),
    }
    rows = []
    for each in trial["buckets"]:
        timing = each["timing"] or {}
        rows.append(
            (
                each["tokens"],
                "no" if each["error"] else "yes",
                each["seconds"],
                _shown(each["worst"], ".4f"),
                _shown(timing.get("pairs_per_second"), ".1f"),
                _shown(timing.get("alone_ms"), ".2f"),
                _shown(timing.get("busy_share"), ".0%"),
                _shown(timing.get("gops_share"), ".1%"),
                _shown(timing.get("mhz"), "d"),
                _shown(each["resident_mb"], ".0f"),
            )
        )
    head = (
        "tokens",
        "works",
        "s to ready",
        "worst error",
        "pairs/s",
        "ms alone",
        "occupied",
        "of f16 peak",
        "MHz",
        "MB",
    )
    parts = ["## The NPU", _table(("", ""), about.items()), "## Row lengths", _table(head, rows)]
    for each in trial["buckets"]:
        if each["error"]:
            parts += [f"### {each['tokens']} tokens", f"```\n{each['error']}\n```"]
            if each["logits"]:
                pairs = zip(each["logits"], each["expected"], strict=True)
                parts.append(_table(("logit", "right"), pairs))
                share = each["worst"] / each["spread"] if each["spread"] else float("nan")
                parts.append(
                    f"The worst is {each['worst']:.3f} off (at most {trial['tolerance']} is right): {share:.1%} of the "
                    "distance between a relevant and an irrelevant passage."
                )
    return parts


def _sweep(sweep: Mapping[str, Any]) -> list[str]:
    in_flight = sorted({number for each in sweep["tries"] for number in each["rates"]})
    rows = [
        (
            each["tokens"],
            each["variant"],
            *(_shown(each["rates"].get(number), ".1f") for number in in_flight),
            _shown(each["compile_s"], ".1f"),
            _shown(each["blob_mb"], ".1f"),
            _shown(each["worst"], ".4f"),
            _shown(each["mhz"], "d"),
            each["error"],
        )
        for each in sweep["tries"]
    ]
    head = (
        "tokens",
        "options",
        *(f"pairs/s, {number} in flight" for number in in_flight),
        "compile s",
        "MB",
        "worst error",
        "MHz",
        "error",
    )
    return ["## Options tried", _table(head, rows), f"Best: {json.dumps(sweep['best'])}"]


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _shown(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _line_of(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
