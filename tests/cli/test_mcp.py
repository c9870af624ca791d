"""``mcp``: an assistant orders passages with the running service, through the protocol's own client."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from openvino_reranker.cli.mcp import make_server
from openvino_reranker.tests.processes import Run, Service, clean_environment

DOCUMENTS = [
    "Berlin is well known for its museums. " + "They stand on an island. " * 20,
    "Bread rises in a warm place.",
    "Berlin had a population of 3,520,031 registered inhabitants.",
]
QUERY = "how many people live in Berlin?"


def as_started(*arguments: str, **environment: str) -> StdioServerParameters:
    """``openvino-reranker mcp`` as an assistant starts it."""
    command = ["-m", "openvino_reranker", "mcp", *arguments]
    return StdioServerParameters(command=sys.executable, args=command, env=clean_environment(**environment))


def with_client(server: Any, ask: Callable[[Client], Awaitable[Any]]) -> Any:
    """Return what ``ask`` makes of a server, in this process or started."""

    async def talk() -> Any:
        async with Client(server) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(talk(), 120))


def call(**arguments: Any) -> Callable[[Client], Awaitable[Any]]:
    return lambda client: client.call_tool("rerank", arguments)


@pytest.mark.parametrize("way", ["http", "socket", "found"])
def test_an_assistant_gets_the_order(service: Service, way: str) -> None:
    server = {
        "http": make_server(service.url, 60.0),
        "socket": make_server(str(service.socket), 60.0),
        "found": as_started(OPENVINO_RERANKER_RUNTIME_DIR=str(service.runtime)),
    }[way]
    answer = with_client(server, call(query=QUERY, documents=DOCUMENTS))
    assert not answer.is_error, answer
    results = answer.structured_content["result"]
    assert [result["index"] for result in results] == [2, 0, 1]
    assert [result["beginning"] for result in results] == [DOCUMENTS[2], DOCUMENTS[0][:120], DOCUMENTS[1]]
    assert 1 > results[0]["relevance"] > results[1]["relevance"] > results[2]["relevance"] > 0
    assert json.loads(answer.content[0].text)["index"] == 2  # for assistants that read text alone


def test_the_tool_says_what_it_takes() -> None:
    tools = with_client(make_server("http://127.0.0.1:1", 60.0), lambda client: client.list_tools()).tools
    assert [tool.name for tool in tools] == ["rerank"]
    schema = tools[0].input_schema
    assert schema["required"] == ["query", "documents"]
    assert set(schema["properties"]) == {"query", "documents", "top_k"}
    assert tools[0].annotations.read_only_hint
    assert "Order documents by how well each answers a query" in tools[0].description


def test_top_k_bounds_the_answer(service: Service) -> None:
    answer = with_client(make_server(service.url, 60.0), call(query=QUERY, documents=DOCUMENTS, top_k=1))
    assert [result["index"] for result in answer.structured_content["result"]] == [2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"query": " ", "documents": ["a"]}, "query is empty"),
        ({"query": "q", "documents": []}, "documents is empty"),
        ({"query": "q", "documents": ["a"], "top_k": 0}, "top_k"),
        ({"query": "q"}, "documents"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(service: Service, arguments: dict[str, Any], says: str) -> None:
    answer = with_client(make_server(service.url, 60.0), call(**arguments))
    assert answer.is_error
    assert says in answer.content[0].text


@pytest.mark.parametrize("way", ["http", "socket"])
def test_without_the_service_the_assistant_is_told_and_can_ask_again(way: str, tmp_path: Path) -> None:
    server = make_server("http://127.0.0.1:1" if way == "http" else str(tmp_path / "requests.sock"), 60.0)

    async def twice(client: Client) -> list[Any]:
        return [await client.call_tool("rerank", {"query": QUERY, "documents": DOCUMENTS}) for _ in range(2)]

    for answer in with_client(server, twice):
        assert answer.is_error
        assert answer.content[0].text.startswith("Error executing tool rerank: no rerank service")


def test_nothing_but_the_protocol_is_on_standard_output() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    asked = {"name": "rerank", "arguments": {"query": QUERY, "documents": DOCUMENTS}}
    messages = [
        hello,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked},
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "openvino_reranker", "mcp", "--url", "http://127.0.0.1:1"],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for message in messages:
            process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()  # the assistant ends
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[0]["result"]["serverInfo"]["name"] == "openvino-reranker"
    assert answers[1]["result"]["isError"]


def test_a_url_that_is_none_is_refused_at_the_start(run: Run) -> None:
    done = run("mcp", "--url", "127.0.0.1:18818")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("openvino-reranker: --url is '127.0.0.1:18818'; it must be an http URL")
