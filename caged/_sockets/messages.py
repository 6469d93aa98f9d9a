"""The messages of a terminal, as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .._constants import LARGEST_INPUT


def typed(text: str) -> Iterator[str]:
    """The messages that type a text. A long text becomes several, because servers accept at most 1 MiB."""
    for begin in range(0, len(text) or 1, LARGEST_INPUT):
        yield json.dumps({"type": "input", "data": text[begin : begin + LARGEST_INPUT]})


def resized(rows: int, cols: int) -> str:
    return json.dumps({"type": "resize", "rows": rows, "cols": cols})


def output_of(message: str) -> str:
    """What a message adds to the output: its data; the whole message when it is not JSON; or nothing."""
    try:
        content = json.loads(message)
    except (ValueError, RecursionError):
        return message
    if not isinstance(content, dict) or content.get("type") != "output":
        return ""
    data = content.get("data")
    return data if isinstance(data, str) else ""
