"""Server of the Model Context Protocol at `/mcp`, with which assistants search and read the corpus.

It is streamable HTTP without sessions: each POST is answered on its own, in JSON, and any worker can answer it. The
official SDK implements the protocol. Loading it takes a second and 30 MB, so it is loaded at the first request.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from indexer import __version__
from service.api.mcp import tools
from service.problems import Problem, response
from service.security.hosts import host_name, is_local

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
    "passage of each, best first, with the document's id and metadata. Without a query it lists documents. {corpus}",
    "get_document": "Return a whole document by its id: its text, in parts where it is long, and its metadata.",
}
CALLS = {"search": tools.search, "get_document": tools.get_document}
SCHEMAS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "search": (tools.SearchArguments, tools.SearchAnswer),
    "get_document": (tools.DocumentArguments, tools.DocumentAnswer),
}


class ModelContext:
    """ASGI application that answers the protocol's POSTs.

    A page of another site must not reach a service that trusts its network (DNS rebinding). A browser names the page's
    origin in every POST. An origin that is neither this machine nor one of ``origins`` is refused, as the specification
    demands. Programs send no origin.
    """

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        origin = request.headers.get("origin")
        if origin is not None and not self._is_allowed(origin):
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

    def _is_allowed(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins or is_local(host_name(origin.partition("://")[2]))


def route(origins: frozenset[str] = frozenset()) -> Route:
    """Return the route of the endpoint. A GET would open a stream that nothing is ever sent on, so it is a 405."""
    return Route("/mcp", ModelContext(origins), methods=["POST"], include_in_schema=False)


@cache
def _server() -> Server[Any]:
    """Return the SDK's server, created once."""
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    logging.getLogger("mcp").setLevel(logging.WARNING)  # it logs the beginning and the end of every request

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
                    input_schema=arguments.model_json_schema(),
                    output_schema=answer.model_json_schema(mode="serialization"),
                    annotations=hints,
                )
                for name, (arguments, answer) in SCHEMAS.items()
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
