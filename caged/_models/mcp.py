"""What a sandbox's MCP server offers; the names of the fields are those of the protocol."""

from dataclasses import dataclass, field
from typing import Any, Optional

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class MCPTool(Model):
    """A tool; `inputSchema` is the JSON schema of its arguments."""

    name: str = ""
    description: str = ""
    inputSchema: dict[str, Any] = field(default_factory=dict, hash=False)


@public
@dataclass(frozen=True)
class MCPResource(Model):
    """Something that can be read by its `uri`."""

    uri: str = ""
    name: str = ""
    description: str = ""
    mimeType: Optional[str] = None


@public
@dataclass(frozen=True)
class MCPPrompt(Model):
    """A prompt with blanks to fill: each of `arguments` says its name and whether it is required."""

    name: str = ""
    description: str = ""
    arguments: list[dict[str, Any]] = field(default_factory=list, hash=False)
