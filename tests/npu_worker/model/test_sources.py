"""What MODEL means."""

from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model.cache_root import cache_root
from openvino_reranker.npu_worker.model.errors import UnknownSource
from openvino_reranker.npu_worker.model.local import max_length
from openvino_reranker.npu_worker.model.sources import HubSource, LocalSource, PackagedSource, resolve
from openvino_reranker.tests.npu_worker.model import tiny_bert


def test_the_word_packaged() -> None:
    assert resolve("packaged") == PackagedSource()


@pytest.mark.parametrize(
    ("text", "repository", "revision", "key"),
    [
        ("org/name", "org/name", None, "org--name"),
        ("org/na.me-2@v1.0", "org/na.me-2", "v1.0", "org--na.me-2@v1.0"),
        ("org/name@refs/pr/1", "org/name", "refs/pr/1", "org--name@refs%2Fpr%2F1"),
    ],
)
def test_hub_ids(text: str, repository: str, revision: str | None, key: str) -> None:
    source = resolve(text)
    assert source == HubSource(repository, revision)
    assert source.key == key
    assert str(source) == text


@pytest.mark.parametrize("text", ["/no/such/folder", "./missing/model", "models/a/b", "~/nowhere-at-all", "gone.onnx"])
def test_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(UnknownSource, match="does not exist"):
        resolve(text)


@pytest.mark.parametrize("text", ["", "minilm", "two words", "org/../name"])
def test_what_means_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownSource):
        resolve(text)


def test_a_folder_that_exists_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bert.write_folder(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    source = resolve("org/name")
    assert isinstance(source, LocalSource)
    assert (source.kind, source.name) == ("safetensors", "name")


def test_a_changed_folder_is_another_model(folder: Path) -> None:
    before = resolve(str(folder)).key
    assert resolve(str(folder)).key == before
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert resolve(str(folder)).key != before


def test_a_graph_in_a_subfolder_finds_the_tokenizer_above(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"")
    (folder / "model.safetensors").unlink()
    source = resolve(str(folder))
    assert isinstance(source, LocalSource)
    assert (source.kind, source.tokenizer, source.config) == (
        "onnx",
        folder / "tokenizer.json",
        folder / "config.json",
    )


@pytest.mark.parametrize(
    ("remove", "write", "message"),
    [
        ("tokenizer.json", "", "no tokenizer.json beside"),
        ("config.json", "", "no config.json beside"),
        ("model.safetensors", "", "contains no model"),
        ("model.safetensors", "pytorch_model.bin", "can run code"),
        ("model.safetensors", "model.safetensors.index.json", "several files"),
        ("", "openvino_model.xml", "no openvino_model.bin"),
    ],
)
def test_what_is_missing_is_named(folder: Path, remove: str, write: str, message: str) -> None:
    if remove:
        (folder / remove).unlink()
    if write:
        (folder / write).write_bytes(b"")
    with pytest.raises(UnknownSource, match=message):
        resolve(str(folder))


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        ({}, {}, 512),
        ({"max_position_embeddings": 512}, {"model_max_length": 1e30}, 512),
        ({"max_position_embeddings": 512}, {"model_max_length": 256}, 256),
        ({"max_position_embeddings": 514, "model_type": "xlm-roberta"}, {}, 512),
        ({"max_position_embeddings": 8192, "model_type": "modernbert"}, {"model_max_length": None}, 8192),
    ],
)
def test_the_longest_row(config: dict[str, object], tokenizer: dict[str, object], expected: int) -> None:
    assert max_length(config, tokenizer) == expected


def test_where_the_cache_is() -> None:
    assert cache_root({"XDG_CACHE_HOME": "/b"}) == Path("/b/openvino-reranker")
    assert cache_root({"XDG_CACHE_HOME": "b"}) == cache_root({}) == Path.home() / ".cache" / "openvino-reranker"
