"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in one step, replacing what is there; its folder must exist.

    Not synced: after a loss of power the file may be the old one.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    making = path.with_name(f"{path.name}.{os.getpid()}.making")
    try:
        making.write_bytes(content)
        making.replace(path)
    except BaseException:
        making.unlink(missing_ok=True)
        raise
