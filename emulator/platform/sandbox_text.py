"""Texts that programs in a sandbox send."""

from __future__ import annotations

from ..store import Sandbox


def sandbox_text(sandbox: Sandbox, text: object) -> str:
    """Return a text of a program inside with the sandbox's own paths, as valid Unicode: a command line may hold bytes
    that are no text, and what is kept of it has to be sent as JSON later."""
    raw = str(text).encode("utf-8", "surrogatepass")
    if sandbox.cage is not None:
        raw = sandbox.cage.layout.to_sandbox_text(raw)
    return raw.decode("utf-8", "surrogatepass").encode("utf-8", "replace").decode("utf-8")
