"""What MODEL means: the word ``packaged``, an existing path, or a hub id.

A path may be, in this order of preference inside one folder:

1. an OpenVINO model: a ``.xml`` with its ``.bin``, as ``optimum-cli export openvino`` writes it;
2. a Hugging Face folder: ``model.safetensors`` and ``config.json``;
3. an ONNX file, in the folder itself or in its ``onnx/``.

``tokenizer.json`` is always needed beside it (or, for ``onnx/`` and the like, one folder up).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from .card import sha256
from .errors import UnknownSource

PACKAGED = "packaged"

_HUB_ID = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w][\w./-]*))?", flags=re.ASCII
)
_IR_NAMES = ("openvino_model.xml", "model.xml")
_FORMS = (
    "a hub id such as cross-encoder/ms-marco-MiniLM-L6-v2, a folder with model.safetensors, config.json and "
    "tokenizer.json, an ONNX or OpenVINO model with tokenizer.json beside it, or the word 'packaged'"
)


@dataclass(frozen=True, slots=True)
class PackagedSource:
    """The model that the package index carries."""

    name: str = "packaged:ms-marco-MiniLM-L-12-v2"
    key: str = "packaged--ms-marco-MiniLM-L-12-v2"

    def __str__(self) -> str:
        return PACKAGED


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the model hub, at its newest revision or the one named."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    @property
    def name(self) -> str:
        """What status pages show."""
        return str(self)

    @property
    def key(self) -> str:
        """Its folder in the cache; the hub has no ``--`` in names, and a revision's slashes are quoted."""
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return self.repository.replace("/", "--") + revision


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A model on this machine: its weights or graph, and what lies beside it."""

    kind: Literal["safetensors", "onnx", "openvino"]
    file: Path
    tokenizer: Path
    config: Path | None
    tokenizer_config: Path | None
    name: str
    #: sha256 over the content of all its files: a changed model is another model.
    digest: str

    def __str__(self) -> str:
        return str(self.file.parent if self.kind == "safetensors" else self.file)

    @property
    def key(self) -> str:
        """Its folder in the cache."""
        return f"local--{re.sub(r'[^A-Za-z0-9._-]+', '-', self.name)}--{self.digest[:16]}"


Source = PackagedSource | HubSource | LocalSource

#: What is meant when no model is named and the hub can be reached.
DEFAULT = HubSource("cross-encoder/ms-marco-MiniLM-L6-v2")


def resolve(model: str) -> Source:
    """Decide what ``model`` means. A path that exists wins over a hub id of the same form.

    Raises:
        UnknownSource: It is none of the forms, or a file is missing; says which.
    """
    if model == PACKAGED:
        return PackagedSource()
    path = Path(model).expanduser()
    if path.exists():
        return local_source(path)
    match = _HUB_ID.fullmatch(model)
    if match and "--" not in match["repository"] and ".." not in model:
        return HubSource(match["repository"], match["revision"])
    if "/" in model or model.startswith(("~", ".")) or path.suffix in {".onnx", ".xml", ".safetensors"}:
        raise UnknownSource(f"{model} does not exist; give {_FORMS}")
    raise UnknownSource(f"{model!r} is not a model; give {_FORMS}")


def local_source(path: Path) -> LocalSource:
    """Look at what lies at a path that exists, and take the digest of it.

    Raises:
        UnknownSource: There is no model, or something is missing beside it.
    """
    path = path.resolve()
    try:
        file, kind = _find_model(path)
        tokenizer = _beside(file, "tokenizer.json")
        if tokenizer is None:
            raise UnknownSource(
                f"there is no tokenizer.json beside {file}; copy the one that the model was trained with there "
                "(with transformers: AutoTokenizer.from_pretrained(…).save_pretrained(folder))"
            )
        config = _beside(file, "config.json")
        if config is None and kind == "safetensors":
            raise UnknownSource(f"there is no config.json beside {file}; copy the model's there")
        tokenizer_config = _beside(file, "tokenizer_config.json")
        parts = (file, _weights_beside(file, kind), tokenizer, config, tokenizer_config)
        return LocalSource(
            kind, file, tokenizer, config, tokenizer_config, name=_name(path), digest=_digest(*filter(None, parts))
        )
    except OSError as error:
        raise UnknownSource(f"{path} cannot be read: {error.strerror}") from error


def _find_model(path: Path) -> tuple[Path, Literal["safetensors", "onnx", "openvino"]]:
    if path.is_file():
        match path.suffix:
            case ".xml":
                return path, "openvino"
            case ".onnx":
                return path, "onnx"
            case ".safetensors":
                return path, "safetensors"
            case _:
                raise UnknownSource(f"{path} is neither .xml, .onnx nor .safetensors; give {_FORMS}")
    for name in _IR_NAMES:
        if (path / name).is_file():
            return path / name, "openvino"
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors", "safetensors"
    for file in (path / "model.onnx", path / "onnx" / "model.onnx"):
        if file.is_file():
            return file, "onnx"
    match sorted(path.glob("*.onnx")):
        case [file]:
            return file, "onnx"
        case []:
            pass
        case several:
            raise UnknownSource(f"{path} holds {len(several)} ONNX files; give one of them, such as {several[0]}")
    if (path / "pytorch_model.bin").is_file():
        raise UnknownSource(
            f"{path} holds its weights as pytorch_model.bin only; only safetensors are read (a .bin can run code): "
            "save the model again with transformers: AutoModelForSequenceClassification.from_pretrained(…)"
            ".save_pretrained(folder)"
        )
    if (path / "model.safetensors.index.json").is_file():
        raise UnknownSource(f"{path} holds its weights in several files; save them as one model.safetensors")
    raise UnknownSource(f"{path} contains no model; give {_FORMS}")


def _beside(file: Path, name: str) -> Path | None:
    """Return the file of this name beside the model, or one folder up from ``onnx/`` and ``openvino/``."""
    folders = [file.parent]
    if file.parent.name in {"onnx", "openvino"}:
        folders.append(file.parent.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _weights_beside(file: Path, kind: str) -> Path | None:
    """Return the file that holds the weights of a graph, where that is another one.

    Raises:
        UnknownSource: An OpenVINO model's ``.bin`` is missing.
    """
    if kind == "openvino":
        weights = file.with_suffix(".bin")
        if not weights.is_file():
            raise UnknownSource(f"there is no {weights.name} beside {file}: it holds the weights")
        return weights
    external = file.with_name(file.name + "_data")
    return external if kind == "onnx" and external.is_file() else None


def _name(path: Path) -> str:
    """Return the folder's name, with the file's where it says more than ``model``."""
    if path.is_dir():
        return path.name
    plain = {"model.onnx", "model.safetensors", *_IR_NAMES}
    return path.parent.name if path.name in plain else f"{path.parent.name}/{path.stem}"


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}:{sha256(file)}\n".encode())
    return digest.hexdigest()
