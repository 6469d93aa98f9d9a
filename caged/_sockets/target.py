"""What can be opened: a WebSocket as a value, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from .. import _arguments as arguments
from .._constants import API_PREFIX
from .._settings import Settings


@dataclass(frozen=True, eq=False)
class Target:
    """One WebSocket of a sandbox.

    Attributes:
        path: Below ``/v1``, with ids already encoded.
        subprotocol: The only one offered.
        patient: Whether to stay connected to a server that answers no pings. True where the reader may be slow:
            a pong waits behind unread output.
    """

    path: str
    subprotocol: str
    query: Mapping[str, int] = field(default_factory=dict)
    patient: bool = False

    def __str__(self) -> str:
        return f"WebSocket {self.path}"

    def url(self, settings: Settings, token: str) -> str:
        """The address; the credential is its last parameter, and there is no header for it."""
        scheme = "wss" if settings.is_encrypted else "ws"
        rest = settings.base_url.split("://", 1)[1]
        return f"{scheme}://{rest}{API_PREFIX}{self.path}?{urlencode({**self.query, 'token': token})}"


def terminal(sandbox_id: Any, rows: Any, cols: Any) -> Target:
    query = {"rows": arguments.integer("rows", rows), "cols": arguments.integer("cols", cols)}
    return Target(_at(sandbox_id, "terminal"), "terminal", query)


def quiet_shell(sandbox_id: Any) -> Target:
    """A terminal without a size is how the server knows that a program reads along: no echo, no prompt."""
    return Target(_at(sandbox_id, "terminal"), "terminal", patient=True)


def mcp(sandbox_id: Any) -> Target:
    return Target(_at(sandbox_id, "mcp"), "mcp")


def _at(sandbox_id: Any, what: str) -> str:
    return f"/sandboxes/{arguments.segment('sandbox_id', sandbox_id)}/{what}"
