"""The scripts and stylesheets of the inspector's pages: its own, and those of the page of a trace."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Optional

from starlette.responses import Response

from ..trace.assets import STATIC as TRACE_STATIC

STATIC = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def asset(name: str) -> Optional[Response]:
    """A file by its name; None for one that there is not."""
    path = _files().get(name)
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix]) if path is not None else None


@functools.cache
def _files() -> dict[str, Path]:
    return {path.name: path for folder in (TRACE_STATIC, STATIC) for path in folder.iterdir() if path.suffix in _TYPES}
