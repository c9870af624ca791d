"""install-units in this process, for fixtures that outlast a test."""

import os
from pathlib import Path

import pytest
from openvino_reranker.cli.main import main


def install_units(home: Path, *options: str) -> None:
    """Run ``install-units`` for a user with this home and no settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("OPENVINO_RERANKER_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        assert main(["install-units", *options]) == 0
