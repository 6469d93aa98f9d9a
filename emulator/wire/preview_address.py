"""The addresses of previews. A preview passes requests to a server that listens on a port in a sandbox.

    http://127.0.0.1:4747/_preview/cage_ab12cd34/3000/any/path     works everywhere; this is the `preview_url`
    http://cage_ab12cd34-3000.localhost:4747/any/path              for pages whose links begin with a slash

The second needs a resolver that resolves `*.localhost` to this machine, as browsers and curl have and Python may not.
A preview needs no API key. A port with a password requires it by Basic authentication.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional

from starlette.types import Scope

_PATH = re.compile(r"/_preview/([^/]+)/(\d{1,5})(/.*)?\Z")
_HOST = re.compile(r"(cage_[a-z0-9]+)-(\d{1,5})\.localhost(?::\d+)?\Z")


def url_of(base: str, sandbox_id: str, port: int) -> str:
    """The address of a preview on the emulator that is reached as `base`."""
    return f"{base}/_preview/{sandbox_id}/{port}/"


@dataclass(frozen=True)
class Target:
    """What a preview's request is for.

    Attributes:
        sandbox_id: The id in the address; the sandbox may not exist.
        port: The port of the server.
        prefix: The part of the visitor's path that the server does not get.
        path: The path that the server gets, encoded, with the query.
    """

    sandbox_id: str
    port: int
    prefix: str
    path: str


def target_of(scope: Scope, host: str) -> Optional[Target]:
    """The target of a preview's request; None for any other request.

    Args:
        scope: The request. Its path is encoded.
        host: Its header of that name.
    """
    path = scope["path"]
    found = _HOST.match(host.lower())
    target: Optional[Target] = None
    if found:
        target = Target(found[1], int(found[2]), "", path or "/")
    else:
        found = _PATH.match(path)
        if found:
            target = Target(found[1], int(found[2]), f"/_preview/{found[1]}/{found[2]}", found[3] or "")
    return replace(target, path=with_query(target.path, scope["query_string"])) if target else None


def with_query(path: str, query: bytes) -> str:
    """Replace the query of a path; an empty one removes it."""
    path = path.partition("?")[0]
    return f"{path}?{query.decode('latin-1')}" if query else path
