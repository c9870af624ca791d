"""What is known of a model made ready: the ``model.json`` beside it."""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from .errors import Damaged

#: What weights may be stored in; int8 computes in int8 too.
PRECISIONS = ("fp16", "int8")
MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CARD_FILE = "model.xml", "model.bin", "tokenizer.json", "model.json"
#: Raised when the content of a ready folder changes its meaning; an older folder is then made ready again.
FORMAT = 1


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A model's description; ``files`` holds the sha256 of every other file of its folder."""

    format: int = FORMAT
    #: What answers and status pages show, such as ``cross-encoder/ms-marco-MiniLM-L6-v2``; ends with ``(int8)``
    #: where the weights are.
    name: str
    #: What was asked for: a hub id, a path, or ``packaged``.
    source: str
    #: The hub's commit, or the sha256 of what the model was made from.
    revision: str
    licence: str | None
    #: ``bert`` where the graph is ours; else what the config says, or ``unknown``.
    architecture: str
    layers: int | None
    #: The longest row, tokens.
    max_length: int
    #: One of ``PRECISIONS``.
    precision: str
    #: ``built`` by our own graph builder, or ``given`` as a finished graph.
    how: Literal["built", "given"]
    #: Version of this program.
    created_by: str
    files: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write ``model.json`` into the folder."""
        (folder / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Read the folder's ``model.json``.

        Raises:
            OSError: There is none, or it cannot be read.
            Damaged: It is not a card of this format.
        """
        try:
            card = msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise Damaged(f"{folder / CARD_FILE} is damaged: {error}") from error
        if card.format != FORMAT:
            raise Damaged(f"{folder} was made by version {card.created_by} in another format")
        return card


def sha256(path: Path) -> str:
    """Return a file's sha256, in hex.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
