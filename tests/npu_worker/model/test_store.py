"""The cache: whole or not there, whatever happens to a pull."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from openvino_reranker.npu_worker.model.card import ModelCard
from openvino_reranker.npu_worker.model.errors import CacheUnwritable, Damaged, NotReady
from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.npu_worker.model.sources import DEFAULT, PackagedSource
from openvino_reranker.npu_worker.model.store import (
    find_default,
    folder_of,
    is_ready,
    load,
    lock_of,
    make_ready,
    remove_stale,
)
from openvino_reranker.tests.npu_worker.model import tiny_bert


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "tokenizer.json"])
def test_a_damaged_file_is_found_and_replaced(folder: Path, cache: Path, name: str) -> None:
    ready = pull(cache, str(folder), "fp16", print)
    content = bytearray((ready.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (ready.folder / name).write_bytes(content)
    with pytest.raises(Damaged, match=rf"{name} is damaged.*openvino-reranker pull {folder}"):
        load(ready.folder)
    said: list[str] = []
    again = pull(cache, str(folder), "fp16", said.append)
    assert (again.folder, load(again.folder).card.revision) == (ready.folder, ready.card.revision)
    assert "damaged" in said[0]
    assert sorted(entry.name for entry in ready.folder.parent.iterdir()) == ["fp16"]


def test_a_missing_file_is_damage(folder: Path, cache: Path) -> None:
    ready = pull(cache, str(folder), "int8", print)
    (ready.folder / "model.bin").unlink()
    with pytest.raises(Damaged, match="--precision int8"):
        load(ready.folder)


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"format": 99}'])
def test_a_card_that_cannot_be_understood_is_damage(folder: Path, cache: Path, content: bytes) -> None:
    ready = pull(cache, str(folder), "fp16", print)
    (ready.folder / "model.json").write_bytes(content)
    with pytest.raises(Damaged, match="openvino-reranker pull"):
        load(ready.folder)


def test_a_card_of_another_format_is_made_anew(folder: Path, cache: Path) -> None:
    ready = pull(cache, str(folder), "fp16", print)
    card = json.loads((ready.folder / "model.json").read_text())
    (ready.folder / "model.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(Damaged, match="another format"):
        load(ready.folder)
    assert load(pull(cache, str(folder), "fp16", print).folder)


def test_a_folder_without_card_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="openvino-reranker pull"):
        load(tmp_path)


def test_the_default_is_the_hubs_if_ready_else_the_packaged(cache: Path) -> None:
    assert find_default(cache, ["fp16"]) is None
    packaged = make_ready(folder_of(cache, PackagedSource().key, "fp16"), lambda _: tiny_bert.CARD, print)
    assert find_default(cache, ["fp16"]) == packaged.folder
    assert find_default(cache, ["int8"]) is None
    default = make_ready(folder_of(cache, DEFAULT.key, "fp16"), lambda _: tiny_bert.CARD, print)
    assert default.folder == cache / "models" / "cross-encoder--ms-marco-MiniLM-L6-v2" / "fp16"
    assert find_default(cache, ["fp16"]) == default.folder


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x"), OSError(2, "not ours")])
def test_whatever_stops_a_build_nothing_is_left(cache: Path, error: BaseException) -> None:
    def make(folder: Path) -> ModelCard:
        (folder / "download").mkdir()
        (folder / "model.bin").write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        make_ready(folder_of(cache, "a", "fp16"), make, print)
    assert list((cache / "models").iterdir()) == []


def test_what_the_card_does_not_name_is_not_kept(cache: Path) -> None:
    def make(folder: Path) -> ModelCard:
        (folder / "download").mkdir()
        (folder / "download" / "wheel").write_bytes(b"x")
        (folder / "notes").write_bytes(b"x")
        return tiny_bert.CARD

    ready = make_ready(folder_of(cache, "a", "fp16"), make, print)
    assert [file.name for file in ready.folder.iterdir()] == ["model.json"]


def test_leftovers_go_unless_their_pull_lives(cache: Path) -> None:
    folder = folder_of(cache, "a", "fp16")
    making = folder.with_name(".fp16.making")
    making.mkdir(parents=True)
    (making / "model.bin").write_bytes(b"half")
    lock_of(folder).parent.mkdir()
    with FileLock(lock_of(folder)):
        remove_stale(cache)
        assert making.exists()
    remove_stale(cache)
    assert not making.exists()


def test_a_cache_that_cannot_be_a_folder(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheUnwritable, match="OPENVINO_RERANKER_CACHE"):
        pull(tmp_path / "file" / "cache", str(folder), "fp16", print)


@pytest.mark.parametrize("limit", [1_000, 20_000])
def test_a_full_disk_leaves_nothing(folder: Path, cache: Path, limit: int) -> None:
    # No file may grow beyond the limit: the tokenizer meets the small one, OpenVINO the large one.
    script = (
        "import sys, pathlib\n"
        "from openvino_reranker.npu_worker.model.errors import ModelError\n"
        "from openvino_reranker.npu_worker.model.pull import pull\n"
        "try:\n    pull(pathlib.Path(sys.argv[1]), sys.argv[2], 'fp16', print)\n"
        "except ModelError as error:\n    sys.exit(f'{type(error).__name__}: {error}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(cache), str(folder)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / ".links"), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "CacheUnwritable" in done.stderr
    assert [path for path in (cache / "models").rglob("*") if path.is_file()] == []


def test_nothing_reports_to_anyone() -> None:
    script = (
        "import sys, openvino_reranker.npu_worker.model.quantization, nncf\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "from nncf.telemetry import telemetry\n"
        "sys.exit(type(telemetry).__module__ != 'unittest.mock')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / ".links")}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0


def test_is_ready_needs_the_card(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("")
    assert not is_ready(tmp_path)
