"""Where texts are sent: only into a folder that nobody else could have laid there, and never with a stray error."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openvino_reranker.broker.runtime_folder import make_folder
from openvino_reranker.client import Reranker, Unavailable, rerank_or_keep_order
from openvino_reranker.daemon.unix_socket import SocketTaken, listen
from openvino_reranker.protocol.socket_paths import (
    MAX_SOCKET_PATH_BYTES,
    check_listening,
    check_socket,
    find_listener,
)
from openvino_reranker.tests.processes import clean_environment
from openvino_reranker.tests.systemd.manager import unix_listener


@pytest.fixture
def listening(runtime: Path) -> Iterator[Path]:
    """A socket on which somebody listens, in a folder right under /tmp."""
    with unix_listener(runtime / "requests.sock"):
        yield runtime / "requests.sock"


def test_a_folder_of_ones_own_is_used(listening: Path) -> None:
    check_socket(listening)
    check_listening(listening)


def test_a_link_under_tmp_is_not_followed(listening: Path) -> None:
    link = Path(f"/tmp/orr-link-{os.getpid()}")
    link.symlink_to(listening.parent)
    try:
        with pytest.raises(Unavailable, match="is not a directory"):
            Reranker(link / "requests.sock").rerank("secret", ["d"], timeout=0.1)
        with pytest.raises(SocketTaken, match="is a symlink"):
            make_folder(link)
    finally:
        link.unlink()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_under_tmp_that_others_may_write_to_is_not_used(listening: Path, mode: int) -> None:
    listening.parent.chmod(mode)
    with pytest.raises(Unavailable, match="is writable by others"):
        check_socket(listening)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_under_tmp_of_another_user_is_not_used(listening: Path) -> None:
    os.chown(listening.parent, 54321, -1)
    with pytest.raises(Unavailable, match="belongs to uid 54321"):
        check_socket(listening)


def test_a_path_through_a_file_is_no_service(runtime: Path) -> None:
    (runtime / "file").touch()
    kept = rerank_or_keep_order("q", ["a", "b"], reranker=Reranker(runtime / "file" / "requests.sock"))
    assert kept.documents == ["a", "b"]
    assert kept.rerank_error is not None
    assert kept.rerank_error.startswith("unavailable: no rerank service")


@pytest.mark.parametrize("length", [MAX_SOCKET_PATH_BYTES, MAX_SOCKET_PATH_BYTES + 1])
def test_a_path_is_as_long_as_the_kernel_allows_or_named(runtime: Path, length: int) -> None:
    folder = runtime / ("x" * (length - len(f"{runtime}//requests.sock")))
    folder.mkdir()
    path = folder / "requests.sock"
    if length > MAX_SOCKET_PATH_BYTES:
        with pytest.raises(SocketTaken, match=f"{path} is longer than 107 bytes"):
            listen(path, 0o600, "taken")
        with pytest.raises(Unavailable, match=f"{path} is longer than 107 bytes"):
            check_socket(path)
        return
    with listen(path, 0o600, "taken"):
        check_socket(path)
        assert find_listener(path) == os.getpid()
    assert os.listdir(folder) == ["requests.sock"]  # noqa: PTH208
    assert find_listener(path) is None


def test_a_full_backlog_is_somebody_who_listens(runtime: Path) -> None:
    path = runtime / "requests.sock"
    with unix_listener(path) as listening:
        listening.listen(0)
        for _ in range(5):
            check_listening(path)
        assert find_listener(path) == 0  # whoever it is


CLOSED_SESSION = """
import os, sys
from openvino_reranker.client import rerank_or_keep_order
os.setgid(65534); os.setuid(65534)
print(rerank_or_keep_order("q", ["a"]).rerank_error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_users_session_folder_is_no_service(runtime: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_SESSION],
        env=clean_environment(XDG_RUNTIME_DIR=str(runtime)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "no permission to reach" in done.stdout, done.stderr
