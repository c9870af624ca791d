"""``mcp``: the service as a tool for an assistant on this machine, by the Model Context Protocol over stdio.

Standard output belongs to the protocol: whatever is logged goes to standard error.
"""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from .. import __version__
from ..client.endpoint import async_reranker_at, check_endpoint
from ..protocol.errors import RerankError
from .settings import SettingError, read_settings
from .target import add_target

#: Characters of a document that come back with its place, so that an assistant can tell which it was.
_BEGINNING = 120

EPILOG = """an assistant starts this itself; most of them take:
  {"mcpServers": {"openvino-reranker": {"command": "openvino-reranker", "args": ["mcp"]}}}

The service must run (openvino-reranker serve, or its systemd units). Needs the package mcp:
  pip install 'openvino-reranker[mcp]'
"""

_INSTRUCTIONS = """Put passages in order of relevance to a question with a local cross-encoder. Use it when you have
found more passages than you can read carefully: it is fast, runs on this machine and sends nothing anywhere."""

_DESCRIPTION = """Order documents by how well each answers a query, the best first.

Give whole passages, not file names. Each result holds the document's index in the list you gave, its relevance (0 to
1; only the order within one call means something) and how it begins."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in the order.

    Attributes:
        index: Its index in the list that was given.
        relevance: How well it answers the query, 0 to 1.
        beginning: How it begins.
    """

    index: int
    relevance: float
    beginning: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own arguments."""
    add_target(parser)
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds a call may take (default 60)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until standard input ends."""
    settings = read_settings(arguments)
    endpoint = arguments.url or str((arguments.socket or settings.requests_socket).absolute())
    try:
        check_endpoint(endpoint)
    except ValueError as error:
        raise SettingError(f"--url is {endpoint!r}; it must be {error}") from None
    make_server(endpoint, arguments.timeout).run("stdio")
    return 0


def make_server(endpoint: str, timeout: float) -> Any:
    """Return the MCP server, whose one tool asks the service at ``endpoint`` and waits ``timeout`` s at most.

    Raises:
        ModuleNotFoundError: The package ``mcp`` is not installed.
    """
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations
    from pydantic import Field

    async def rerank(
        query: Annotated[str, Field(description="what is looked for")],
        documents: Annotated[list[str], Field(description="the passages, 1 to 1000")],
        top_k: Annotated[int | None, Field(description="how many to return; all if not given", ge=1)] = None,
    ) -> list[Ranked]:
        try:
            ranking = await async_reranker_at(endpoint).rerank(query, documents, top_k, timeout)
        except RerankError as error:
            raise ToolError(error.message) from error  # for the assistant to read
        return [Ranked(hit.index, hit.relevance_score, documents[hit.index][:_BEGINNING]) for hit in ranking.hits]

    server = MCPServer("openvino-reranker", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING")
    tool: Callable[[Callable[..., Awaitable[list[Ranked]]]], object] = server.tool(
        description=_DESCRIPTION,
        annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
    )
    tool(rerank)
    return server
