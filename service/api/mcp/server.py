"""The Model Context Protocol at `/mcp`: assistants search and read the corpus by themselves.

Streamable HTTP without sessions: each POST is answered by itself, in JSON, so that any worker can take any request. The
protocol is the official SDK's work; it takes a second and 30 MB to load and is loaded when the first assistant comes.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from indexer import __version__
from service.api.mcp import tools
from service.problems import Problem, response
from service.security.hosts import is_local

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

INSTRUCTIONS = (
    "Semantic search over one corpus. Call `search` with a question or a description in plain words, in the corpus's "
    "language if you know it; read the passages; call `get_document` where a passage is not enough. Name the ids of the "
    "documents that an answer rests on."
)
TITLES = {"search": "Search the corpus", "get_document": "Read a document"}
DESCRIPTIONS = {
    "search": "Find the documents that answer a question or fit a description, by meaning and by words. Returns the best "
    "passage of each, best first, with the document's id and metadata. {corpus}",
    "get_document": "Return a whole document by its id: its text, in parts where it is long, and its metadata.",
}
CALLS = {"search": tools.search, "get_document": tools.get_document}
SHAPES: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "search": (tools.SearchArguments, tools.SearchAnswer),
    "get_document": (tools.DocumentArguments, tools.DocumentAnswer),
}


class ModelContext:
    """ASGI application that answers the protocol's POSTs.

    A page of another site must not reach a service that trusts its network (DNS rebinding): a browser names the page's
    origin in every POST, so an origin that is neither this machine nor one of ``origins`` is refused, as the
    specification demands. Programs send none.
    """

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        origin = request.headers.get("origin")
        if origin is not None and not self._may(origin):
            problem = Problem(
                403, "forbidden-origin", f"Pages of {origin[:200]!r} may not call /mcp; --cors names those that may"
            )
            await response(request, problem)(scope, receive, send)
            return
        async with self._loading:
            server = await run_in_threadpool(_server)
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    def _may(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins or is_local(urlsplit(origin).hostname or "")


def route(origins: frozenset[str] = frozenset()) -> Route:
    """Return the route of the endpoint; a GET, which would open a stream that nothing is ever sent on, is a 405."""
    return Route("/mcp", ModelContext(origins), methods=["POST"], include_in_schema=False)


@cache
def _server() -> Server[Any]:
    """Return the server, made with the SDK once."""
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of the beginning and the end of every request

    async def list_tools(
        context: ServerRequestContext[Any], _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        corpus = await tools.describe_corpus(_request(context))
        hints = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    title=TITLES[name],
                    description=DESCRIPTIONS[name].format(corpus=corpus),
                    input_schema=takes.model_json_schema(),
                    output_schema=gives.model_json_schema(mode="serialization"),
                    annotations=hints,
                )
                for name, (takes, gives) in SHAPES.items()
            ]
        )

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in CALLS:
            text = f"There is no tool {params.name!r}; there are {' and '.join(CALLS)}"
            return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
        try:
            answer = await CALLS[params.name](_request(context), params.arguments or {})
        except tools.ToolError as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        return types.CallToolResult(
            content=[types.TextContent(text=answer.model_dump_json())],
            structured_content=answer.model_dump(mode="json"),
        )

    return Server(
        "dowse",
        version=__version__,
        title="Dowse",
        description="Semantic search over one corpus",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _request(context: Any) -> Request:
    """Return the HTTP request that a call came with."""
    request: Request = context.request
    return request
