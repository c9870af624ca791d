"""Log lines as the journal reads them, and as a person does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from openvino_reranker.tests.processes import clean_environment
from openvino_reranker.tests.systemd.manager import unix_listener


@pytest.mark.parametrize("to_the_journal", [True, False])
def test_lines_have_a_priority_only_where_the_journal_reads_them(runtime: Path, to_the_journal: bool) -> None:
    reader, writer = os.pipe()
    stream = os.fstat(writer)
    inode = stream.st_ino if to_the_journal else stream.st_ino + 1  # a terminal's programs inherit the variable
    environment = clean_environment(JOURNAL_STREAM=f"{stream.st_dev}:{inode}")
    command = [sys.executable, "-m", "openvino_reranker", "broker", "--runtime-dir", str(runtime)]
    with unix_listener(runtime / "requests.sock"):
        ended = subprocess.run(command, env=environment, stderr=writer, check=False)
    os.close(writer)
    with os.fdopen(reader) as read:
        lines = read.read().splitlines()
    assert ended.returncode == 1
    assert len(lines) == 1
    assert "is listening on" in lines[0]
    assert lines[0].startswith("<3>another") == to_the_journal
    assert (" broker " in lines[0].split("another")[0]) == (not to_the_journal)
