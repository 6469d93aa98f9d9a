"""Previews: what a program in a sandbox serves on one of its ports, shown to a browser or any other HTTP client.

    http://127.0.0.1:4747/_preview/cage_ab12cd34/3000/any/path     works everywhere; this is the `preview_url`
    http://cage_ab12cd34-3000.localhost:4747/any/path              for pages whose links begin with a slash

The second needs a resolver that takes `*.localhost` for this machine, as browsers and curl do and Python may not. No
API key is asked for, but the port's password, where one is set, by Basic authentication.
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
    """`prefix`: what the visitor's path has in front of the server's own. `path`: raw, with its query."""

    sandbox_id: str
    port: int
    prefix: str
    path: str


def target_of(scope: Scope) -> Optional[Target]:
    """What a request is a preview of, if it is one."""
    headers = dict(scope["headers"])
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    found = _HOST.match(headers.get(b"host", b"").decode("latin-1").lower())
    target: Optional[Target] = None
    if found:
        target = Target(found[1], int(found[2]), "", path or "/")
    else:
        found = _PATH.match(path)
        if found:
            target = Target(found[1], int(found[2]), f"/_preview/{found[1]}/{found[2]}", found[3] or "")
    return replace(target, path=with_query(target.path, scope["query_string"])) if target else None


def with_query(path: str, query: bytes) -> str:
    """`path` with `query` in place of the query that it may have."""
    path = path.partition("?")[0]
    return f"{path}?{query.decode('latin-1')}" if query else path
