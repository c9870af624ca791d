"""As much of the model hub's HTTP interface as a download needs, on a port of this machine."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves one repository from a folder.

    Attributes:
        paused: While set, the weights stop halfway.
        halfway: Set when they have.
        gated: Answers as the hub does where terms have not been accepted.
        damaged: Sends other weights than it announces.
        requests: Methods and paths asked for.
    """

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.gated = self.damaged = False
        self.status = 0
        self.paused = threading.Event()
        self.resumed = threading.Event()
        self.halfway = threading.Event()
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  (its name in the base class)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resumed.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.split("?")[0]
        self.requests.append(f"{request.command} {path}")
        status, content, headers = self._answer_to(path)
        name = path.rsplit("/", 1)[-1]
        if self.damaged and name == "model.safetensors":
            content = content[:-1] + b"?"
        pausing = self if body and name == "model.safetensors" and self.paused.is_set() else None
        _send(request, status, content if body else b"", headers | {"Content-Length": str(len(content))}, pausing)

    def _answer_to(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        api, files = f"/api/models/{self.repository}", f"/{self.repository}/resolve/{COMMIT}/"
        if self.status:
            return self.status, b"", {}
        if path.startswith(api):
            revision = path.removeprefix(api).removeprefix("/revision/")
            if revision not in {"", "main", COMMIT}:
                return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
            return 200, json.dumps(self._info()).encode(), {}
        if not path.startswith(files):
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if self.gated:
            return 403, b"{}", {"X-Error-Code": "GatedRepo"}
        content = (self.folder / path.removeprefix(files)).read_bytes()
        return 200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}

    def _info(self) -> dict[str, Any]:
        siblings = []
        for file in sorted(self.folder.iterdir()):
            content = file.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            sibling: dict[str, Any] = {"rfilename": file.name, "size": len(content), "blobId": git}
            if file.suffix in {".safetensors", ".bin"}:
                digest = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return {
            "id": self.repository,
            "modelId": self.repository,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "tags": [],
            "cardData": {"license": "apache-2.0"},
            "siblings": siblings,
        }


def _send(
    request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str], pausing: HubServer | None
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    half = len(content) // 2 if pausing else 0
    try:
        request.wfile.write(content[:half])
        request.wfile.flush()
        if pausing:
            pausing.halfway.set()
            pausing.resumed.wait(60)
        request.wfile.write(content[half:])
    except ConnectionError:
        request.close_connection = True  # the reader was killed
