"""Logging: one line per event on standard error, with the journal's priority where the journal reads it."""

import logging
import os
import sys
from collections.abc import Mapping

#: sd-daemon(3): a line that begins with ``<N>`` has syslog priority N.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def start_logging(component: str, *, verbose: bool = False, environ: Mapping[str, str] = os.environ) -> None:
    """Send this process's log to standard error, in the journal's format or in a person's."""
    handler = logging.StreamHandler(sys.stderr)
    if _is_journal(environ.get("JOURNAL_STREAM", "")):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {component:<6} %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for noisy in ("asyncio", "httpcore", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _is_journal(stream: str) -> bool:
    """Whether standard error goes to the journal: what is started from a desktop inherits the variable alone."""
    try:
        ours = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or replaced by what is no file
        return False
    return stream == f"{ours.st_dev}:{ours.st_ino}"
