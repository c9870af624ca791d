"""How the value of a setting is read from text. Each reader raises ValueError with what is allowed."""

from collections.abc import Callable
from pathlib import Path

from ..npu_worker.npu.plugin_options import read_options


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of ``choices``, in any case."""

    def read(text: str) -> str:
        folded = {choice.lower(): choice for choice in choices}
        if text.lower() not in folded:
            raise ValueError(f"one of {', '.join(choices)}")
        return folded[text.lower()]

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def read_seconds(text: str) -> float:
    """Read a time of more than 0 and at most 600 s."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 600:
        raise ValueError("seconds, more than 0 and at most 600")
    return value


def read_names(text: str) -> tuple[str, ...]:
    """Read comma-separated names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_buckets(text: str) -> tuple[int, ...]:
    """Read comma-separated row lengths, tokens, and sort them."""
    parts = read_names(text)
    if not parts or not all(part.isdecimal() and 16 <= int(part) <= 8192 for part in parts):
        raise ValueError("numbers of tokens from 16 to 8192, comma-separated")
    return tuple(sorted({int(part) for part in parts}))


def read_plugin_options(text: str) -> tuple[str, ...]:
    """Read comma-separated KEY=VALUE options of OpenVINO's plugin."""
    return tuple(f"{name}={value}" for name, value in read_options(text).items())


def read_path(text: str) -> Path:
    """Read a path, with ``~`` expanded."""
    return Path(text).expanduser()
