"""The MCP server that every sandbox has, apart from the socket that carries it (`wire` does that)."""

from .session import McpSession

__all__ = ["McpSession"]
