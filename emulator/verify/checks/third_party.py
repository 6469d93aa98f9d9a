"""Third-party MCP servers: their lists. A server that returns 501 does not claim to have them."""

from __future__ import annotations

from ..assertions import read_object, shorten
from ..check import Group
from ..context import Context
from ..errors import SkipCheck

group = Group("third-party")


def _listing(path: str, key: str, section: str) -> None:
    @group.contract(f"{key}-of-{path.rsplit('/', 1)[1]}", f"GET {path} returns an object with {key}.", section)
    def check_list(context: Context) -> None:
        answer = context.get(path)
        if answer.status_code == 501:
            raise SkipCheck(f"the server does not implement this: {shorten(answer.text)}")
        read_object(answer, {f"{key}": [{}]})


_listing("/mcp/catalogue", "servers", "wire-contract 5.1")
_listing("/mcp/servers", "servers", "wire-contract 5.1")
_listing("/mcp/bindings", "bindings", "wire-contract 5.2")
_listing("/mcp/readiness", "servers", "wire-contract 5.2")
_listing("/mcp/inputs", "inputs", "wire-contract 5.5")
