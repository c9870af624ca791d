"""uvicorn's own classes are built on: the oldest version that is allowed does as well as the newest.

The newest is in this environment; the oldest is put before it on the path.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openvino_reranker.tests.processes import ROOT, clean_environment

OLDEST = "0.35.0"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


def test_connections_are_served_by_the_oldest_uvicorn_too(runtime: Path) -> None:
    folder = ROOT / ".cache" / "environments" / f"uvicorn-{OLDEST}"
    if not (folder / ".complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--upgrade", "--target", folder, f"uvicorn=={OLDEST}", "click==8.5.1"], check=True)
        (folder / ".complete").touch()
    environ = clean_environment()
    environ["PYTHONPATH"] = os.pathsep.join([str(folder), environ["PYTHONPATH"]])
    seen = subprocess.run(
        [sys.executable, "-c", "import uvicorn; print(uvicorn.__version__)"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == OLDEST
    connections = Path(__file__).parents[1] / "http_front" / "test_connections.py"
    command = [sys.executable, "-m", "pytest", "-q", str(connections)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]

    command = [sys.executable, "-m", "openvino_reranker", "http", "--port", "0", "--runtime-dir", str(runtime)]
    front = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    assert front.stderr is not None
    try:
        url = "http://127.0.0.1:" + front.stderr.readline().rsplit(" ", 1)[1].strip()
        assert httpx.get(url + "/healthz").status_code == 200
        for path, headers in (("/rerank", {"Connection": "close"}), ("/nothing", {})):
            answer = httpx.post(url + path, content=b"x" * 40_000_000, headers=headers, timeout=60)
            assert answer.status_code == (413 if path == "/rerank" else 404)
    finally:
        front.terminate()
        _, rest = front.communicate(timeout=30)
    assert front.returncode == 0
    assert "Traceback" not in rest
