"""Third-party MCP servers: that the lists are there. An emulator that says 501 does not claim to have them."""

from __future__ import annotations

from ..check import Group, Unchecked
from ..context import Context
from ..expect import an_object, short

group = Group("third-party")


def _listing(path: str, key: str, section: str) -> None:
    @group.contract(f"{key}-of-{path.rsplit('/', 1)[1]}", f"GET {path} is an object with {key}.", section)
    def look(bench: Context) -> None:
        answer = bench.get(path)
        if answer.status_code == 501:
            raise Unchecked(f"the server says that it has none of this: {short(answer.text)}")
        an_object(answer, {f"{key}": [{}]})


_listing("/mcp/catalogue", "servers", "wire-contract 5.1")
_listing("/mcp/servers", "servers", "wire-contract 5.1")
_listing("/mcp/bindings", "bindings", "wire-contract 5.2")
_listing("/mcp/readiness", "servers", "wire-contract 5.2")
_listing("/mcp/inputs", "inputs", "wire-contract 5.5")
