"""Texts that programs in a sandbox send."""

from __future__ import annotations

from typing import Optional

from ..cage.cage import Cage


def sandbox_text(cage: Optional[Cage], text: object) -> str:
    """Return a text of a program inside with the sandbox's own paths, as valid Unicode: a command line may hold bytes
    that are not text, and what is kept of it has to be sent as JSON later."""
    raw = str(text).encode("utf-8", "surrogatepass")
    if cage is not None:
        raw = cage.layout.to_sandbox_text(raw)
    return raw.decode("utf-8", "surrogatepass").encode("utf-8", "replace").decode("utf-8")
