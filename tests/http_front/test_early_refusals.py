"""A refusal is read by its client, who is still sending: each of several tries, with every client at hand."""

import http.client
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openvino_reranker.http_front.body_reader import BODY_BYTES
from openvino_reranker.tests.processes import Program, with_constants

TRIES = 3
#: Instead of the 5 s that a front reads on without hearing anything.
IDLE_S = 2.0
MEGABYTE = 1_000_000
#: What is asked, with which headers and how large a body, and the status that is answered before it has come.
Case = tuple[str, dict[str, str], int, int]
REFUSED: list[Case] = [
    ("/rerank", {}, 36 * MEGABYTE, 413),
    ("/nothing", {}, 5 * MEGABYTE, 404),
    ("/healthz", {}, 5 * MEGABYTE, 405),
    ("/rerank", {"Host": "evil.example"}, 5 * MEGABYTE, 403),
    ("/rerank", {"Content-Encoding": "br"}, 5 * MEGABYTE, 415),
]
UNAUTHORIZED: list[Case] = [("/rerank", {}, 5 * MEGABYTE, 401)]
#: For the clients that say ``Connection: close``, or wait for nothing.
LARGEST: list[Case] = [("/rerank", {}, 100 * MEGABYTE, 413)]

Ask = Callable[[str, dict[str, str], Path], int]


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two fronts without a broker: one open, one that needs a key."""
    settings = {"OPENVINO_RERANKER_RUNTIME_DIR": str(tmp_path_factory.mktemp("runtime"))}
    settings |= with_constants("http_front.lingering_close", IDLE_S=IDLE_S)
    with (
        Program("http", "--port", "0", **settings) as is_open,
        Program("http", "--port", "0", **settings, OPENVINO_RERANKER_API_KEY="key") as keyed,
    ):
        yield {
            name: "http://127.0.0.1:" + program.wait_for_line("listening on").rsplit(" ", 1)[1]
            for name, program in (("open", is_open), ("keyed", keyed))
        }


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    folder = tmp_path_factory.mktemp("bodies")

    def make(size: int) -> Path:
        path = folder / str(size)
        if not path.exists():
            path.write_bytes(b'{"query": "q", "documents": ["' + b"x" * size + b'"]}')
        return path

    return make


def by_urllib(url: str, headers: dict[str, str], body: Path) -> int:
    """It says ``Connection: close`` in every request."""
    request = urllib.request.Request(url, body.read_bytes(), headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        json.load(error)
        return error.code


def by_http_1_0(url: str, headers: dict[str, str], body: Path) -> int:
    class Http10(http.client.HTTPConnection):
        _http_vsn, _http_vsn_str = 10, "HTTP/1.0"

    host, _, path = url.removeprefix("http://").partition("/")
    connection = Http10(host, timeout=30)
    connection.request("POST", "/" + path, body.read_bytes(), {"Host": "localhost"} | headers)
    answer = connection.getresponse()
    json.load(answer)
    connection.close()
    return answer.status


def by_httpx(url: str, headers: dict[str, str], body: Path) -> int:
    answer = httpx.post(url, headers=headers, content=body.read_bytes(), timeout=30)
    answer.json()
    return answer.status_code


def by_httpx_in_chunks(url: str, headers: dict[str, str], body: Path) -> int:
    data = body.read_bytes()
    chunks = (data[start : start + 65536] for start in range(0, len(data), 65536))
    answer = httpx.post(url, headers=headers, content=chunks, timeout=30)
    answer.json()
    return answer.status_code


def run(*command: str) -> int:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def by_curl(url: str, headers: dict[str, str], body: Path) -> int:
    """It waits for ``100 Continue`` with a large body, for a second."""
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *given, "--data-binary", f"@{body}", url)


def by_curl_at_once(url: str, headers: dict[str, str], body: Path) -> int:
    return by_curl(url, headers | {"Expect": ""}, body)


FETCH = """
const [url, headers, body] = process.argv.slice(1);
const answer = await fetch(url, {method: "POST", headers: JSON.parse(headers), body: require("fs").readFileSync(body)});
await answer.json();
console.log(answer.status);
process.exit(0);
"""


def by_fetch_of_node(url: str, headers: dict[str, str], body: Path) -> int:
    script = f"(async () => {{ {FETCH} }})()"
    return run("node", "-e", script, url, json.dumps(headers), str(body))


CLIENTS: list[Ask] = [by_urllib, by_http_1_0, by_httpx, by_httpx_in_chunks, by_curl, by_curl_at_once, by_fetch_of_node]


@pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)
def test_every_client_reads_every_refusal(fronts: dict[str, str], bodies: Callable[[int], Path], ask: Ask) -> None:
    programs: dict[Ask, str] = {by_curl: "curl", by_curl_at_once: "curl", by_fetch_of_node: "node"}
    program = programs.get(ask)
    if program is not None and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    largest = LARGEST if ask in (by_urllib, by_fetch_of_node) else []
    for name, cases in (("open", REFUSED + largest), ("keyed", UNAUTHORIZED)):
        for path, headers, size, status in cases:
            if ask is by_fetch_of_node and "Host" in headers:
                continue  # fetch does not let a program set it
            seen = [ask(fronts[name] + path, headers, bodies(size)) for _ in range(TRIES)]
            assert seen == [status] * TRIES, (path, headers, size)


def test_a_refusal_comes_instead_of_100_continue(fronts: dict[str, str]) -> None:
    host, port = fronts["open"].removeprefix("http://").split(":")
    head = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head % (BODY_BYTES + 1))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head % 2)
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_reading_on_has_an_end(fronts: dict[str, str]) -> None:
    host, port = fronts["open"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000000\r\n\r\nx"
        )
        answer = b""
        while part := connection.recv(10_000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 413 ")
        started = time.monotonic()
        connection.sendall(b"x")  # it still reads
        time.sleep(IDLE_S + 1)  # nothing comes for some time: it reads no more
        with pytest.raises(ConnectionError):  # noqa: PT012  (the first may still be taken)
            while time.monotonic() - started < 3 * IDLE_S:
                connection.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - started > IDLE_S - 1
