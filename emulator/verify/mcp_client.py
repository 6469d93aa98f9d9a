"""A client of a sandbox's MCP server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from .assertions import assert_equal, shorten
from .context import Context
from .errors import Mismatch
from .raw_client import Socket


class McpClient:
    """Requests over one WebSocket, with the ids 1, 2, 3, as the platform's clients number them."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._last_id = 0

    def receive(self) -> dict[str, Any]:
        """Return the next message that is not a notification."""
        while True:
            message = self.socket.receive()
            if not isinstance(message, dict):
                raise Mismatch("a JSON-RPC message", shorten(repr(message)))
            if "method" not in message:
                return message

    def request(self, method: str, params: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """Send a request and return the whole reply."""
        self._last_id += 1
        self.socket.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}})
        reply = self.receive()
        assert_equal("id", reply.get("id"), self._last_id)
        return reply

    def result(self, method: str, params: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """Send a request and return the result of the reply."""
        result = self.request(method, params).get("result")
        if not isinstance(result, dict):
            raise Mismatch("a result", shorten(repr(result)))
        return result

    def tool_result(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its whole result."""
        return self.result("tools/call", {"name": tool, "arguments": arguments})

    def tool_text(self, tool: str, **arguments: Any) -> str:
        """Call a tool and return the text of its result."""
        result = self.tool_result(tool, **arguments)
        try:
            return "".join(str(block.get("text", "")) for block in result["content"])
        except (KeyError, TypeError, AttributeError):
            raise Mismatch("content with a text", shorten(repr(result))) from None

    def initialize(self) -> dict[str, Any]:
        """Send `initialize` alone: the platform's clients do not send `notifications/initialized` after it."""
        client = {"name": "caged-python", "version": "0.3.0"}
        return self.result("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client})


@contextmanager
def open_mcp(context: Context) -> Iterator[McpClient]:
    """Connect to the MCP server of the shared sandbox."""
    with context.socket("mcp") as socket:
        yield McpClient(socket)


@contextmanager
def initialized_mcp(context: Context) -> Iterator[McpClient]:
    """Connect to the MCP server of the shared sandbox and send `initialize`."""
    with open_mcp(context) as client:
        client.initialize()
        yield client
