"""The messages of a terminal, as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .._constants import LARGEST_INPUT


def input_messages(text: str) -> Iterator[str]:
    """Yield the input messages for `text`: several for a long one, because servers accept at most 1 MiB."""
    for begin in range(0, len(text) or 1, LARGEST_INPUT):
        yield json.dumps({"type": "input", "data": text[begin : begin + LARGEST_INPUT]})


def resize_message(rows: int, cols: int) -> str:
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
