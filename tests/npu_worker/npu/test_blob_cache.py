import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from openvino_reranker.npu_worker.npu.blob_cache import BlobCache
from openvino_reranker.npu_worker.npu.platform import Identity
from openvino_reranker.tests.npu_worker.model.tiny_bert import CARD

IDENTITY = Identity("2026.4.1", "1763990384", "7.1", "3720", "Intel AI Boost")
OPTIONS = {"PERFORMANCE_HINT": "THROUGHPUT"}


def open_cache(root: Path, identity: Identity = IDENTITY, **other: str) -> BlobCache:
    return BlobCache(root, CARD, identity, OPTIONS | other)


def put(cache: BlobCache, length: int, content: bytes) -> None:
    room = cache.room(length)
    room.write_bytes(content)
    cache.put(length, room)


def test_what_is_put_is_read(tmp_path: Path) -> None:
    put(open_cache(tmp_path / "c"), 64, b"blob")
    assert open_cache(tmp_path / "c").read(64) == b"blob"
    assert open_cache(tmp_path / "c").read(96) is None
    assert not list(tmp_path.glob("c/*.making"))


def test_a_changed_byte_is_never_trusted(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    put(cache, 64, b"x" * 1000)
    [blob] = tmp_path.glob("*.blob")
    content = bytearray(blob.read_bytes())
    content[500:564] = bytes(64)
    blob.write_bytes(content)
    assert cache.read(64) is None
    assert not list(tmp_path.glob("*.blob"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"sha256": "1"}', b'{"sha256": "1", "made_of": {}}'])
def test_a_note_that_is_none_is_never_fatal(tmp_path: Path, content: bytes) -> None:
    cache = open_cache(tmp_path)
    put(cache, 64, b"blob")
    [note] = tmp_path.glob("*.json")
    note.write_bytes(content)
    assert cache.read(64) is None


@pytest.mark.parametrize(
    "identity",
    [
        replace(IDENTITY, openvino="2026.5"),
        replace(IDENTITY, driver="1"),
        replace(IDENTITY, compiler="8"),
        replace(IDENTITY, architecture="4000"),
        replace(IDENTITY, name="another"),
        replace(IDENTITY, firmware="another"),
    ],
)
def test_another_driver_or_device_gets_another_blob(tmp_path: Path, identity: Identity) -> None:
    put(open_cache(tmp_path), 64, b"blob")
    assert open_cache(tmp_path, identity).read(64) is None


def test_other_options_and_another_model_get_another_blob(tmp_path: Path) -> None:
    put(open_cache(tmp_path), 64, b"blob")
    assert open_cache(tmp_path, NPU_TILES="2").read(64) is None
    other = BlobCache(tmp_path, msgspec.structs.replace(CARD, files={"model.bin": "1"}), IDENTITY, OPTIONS)
    assert other.read(64) is None


def test_a_blob_under_a_foreign_name_is_not_taken(tmp_path: Path) -> None:
    ours, theirs = open_cache(tmp_path), open_cache(tmp_path / "other", replace(IDENTITY, driver="1"))
    put(ours, 64, b"ours")
    put(theirs, 64, b"theirs")
    for suffix in ("blob", "json"):
        [mine], [other] = tmp_path.glob(f"*.{suffix}"), tmp_path.glob(f"other/*.{suffix}")
        mine.write_bytes(other.read_bytes())
    assert ours.read(64) is None


def test_a_newer_blob_replaces_the_older_ones_of_its_bucket(tmp_path: Path) -> None:
    put(open_cache(tmp_path), 64, b"old")
    put(open_cache(tmp_path), 96, b"stays")
    put(open_cache(tmp_path, replace(IDENTITY, driver="2")), 64, b"new")
    assert sorted(blob.read_bytes() for blob in tmp_path.glob("*.blob")) == [b"new", b"stays"]


def test_marks_count_and_belong_to_one_driver(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    assert cache.mark(64) is None
    cache.put_mark(64, "ended by SIGABRT")
    cache.put_mark(64, "ended by SIGSEGV")
    mark = open_cache(tmp_path).mark(64)
    assert mark is not None
    assert (mark.times, mark.happened) == (2, "ended by SIGSEGV")
    assert open_cache(tmp_path, replace(IDENTITY, driver="2")).mark(64) is None
    cache.clear_marks(64)
    assert cache.mark(64) is None


def test_losses_count_until_the_driver_is_loaded_anew(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.note_loss(64, "boot 1", "hung")
    cache.note_loss(64, "boot 1", "hung")
    assert [open_cache(tmp_path).count_losses(64, epoch) for epoch in ("boot 1", "boot 2")] == [2, 0]
    assert open_cache(tmp_path, replace(IDENTITY, firmware="2")).count_losses(64, "boot 1") == 0
    cache.note_loss(64, "boot 2", "hung")
    assert cache.count_losses(64, "boot 2") == 1
    cache.clear_marks(64)
    assert cache.count_losses(64, "boot 2") == 0


def test_a_cache_that_cannot_be_written_is_not_fatal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = open_cache(tmp_path / "c")
    compiled = tmp_path / "compiled"
    compiled.write_bytes(b"blob")
    (tmp_path / "c").write_text("a file where the folder should be")
    cache.put(64, compiled)
    assert "cannot be cached" in caplog.text


def test_what_a_killed_compiler_left_is_removed(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    ours = cache.room(64)
    ours.write_bytes(b"half")
    dead, other = ours.with_name(ours.name.replace(f"-{os.getpid()}.", "-4194999.")), cache.room(96)
    dead.write_bytes(b"half")
    other.write_bytes(b"half")
    assert cache.room(64) == ours
    assert not dead.exists()
    assert ours.exists()
    assert other.exists()
