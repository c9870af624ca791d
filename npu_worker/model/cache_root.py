"""Where models are kept by default."""

from collections.abc import Mapping
from pathlib import Path


def cache_root(environ: Mapping[str, str]) -> Path:
    """Return the cache's folder: ``openvino-reranker`` under ``$XDG_CACHE_HOME``, else under ``~/.cache``."""
    # The XDG specification has relative paths ignored.
    shared = environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "openvino-reranker"
