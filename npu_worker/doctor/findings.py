"""What a bug report needs: findings, each ok, a warning or a problem with what to do, and how they are shown."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was checked, its level, what was found, and what to do about it."""

    about: str
    level: Level
    found: str
    to_do: str = ""


def ok(about: str, found: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(about, "ok", found)


def warning(about: str, found: str, to_do: str) -> Finding:
    """Return a finding that may explain trouble."""
    return Finding(about, "warning", found, to_do)


def problem(about: str, found: str, to_do: str = "") -> Finding:
    """Return a finding that stops the service from working."""
    return Finding(about, "problem", found, to_do)


def soften(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with problems as warnings: for devices that the service is not set to use."""
    return [replace(each, level="warning") if each.level == "problem" else each for each in findings]


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level there is."""
    levels = {each.level for each in findings}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"


def as_text(findings: Iterable[Finding]) -> str:
    """Return a line for each finding, with what to do below it."""
    lines = []
    for each in findings:
        lines.append(f"{each.level:<8} {each.about:<16} {each.found}")
        if each.to_do:
            lines.append(f"{'':<25} -> {each.to_do}")
    return "\n".join(lines)


def as_json(findings: Iterable[Finding], more: dict[str, Any] | None = None) -> str:
    """Return the findings as JSON."""
    found = list(findings)
    return json.dumps({"worst": worst(found), "findings": [asdict(each) for each in found], **(more or {})}, indent=2)
