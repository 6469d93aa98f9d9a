"""The calls that the SDK has recorded in a file (`caged/_call_file.py`)."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..regular_file import open_regular

#: Calls that are read, the first ones; lines that are read; and bytes of a line: a longer one is not a call.
MOST_CALLS, MOST_LINES, LINE_BYTES = 10_000, 1_000_000, 64 * 1024


@dataclass
class RecordedCall:
    """A call; see `trace.call_steps.ObservedCall`."""

    id: str
    trace_id: str
    name: str
    path: str
    place: Optional[tuple[str, int]]
    began: float
    ended: Optional[float] = None
    error: str = ""


def read_calls(path: Path) -> list[RecordedCall]:
    """Read a file of calls, in the order in which they began. What is not a call in it is left out: programs that are
    not trusted may write to it."""
    found: dict[str, RecordedCall] = {}
    try:
        with open_regular(path) as file:
            for line in itertools.islice(iter(lambda: file.readline(LINE_BYTES), b""), MOST_LINES):
                try:
                    _note(json.loads(line.decode("utf-8", "replace")), found)
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        pass
    return list(found.values())


def _moment(value: Any) -> float:
    """A moment; ValueError for NaN and infinity."""
    moment = float(value)
    if not math.isfinite(moment):
        raise ValueError(f"{moment} is not a moment")
    return moment


def _note(entry: dict[str, Any], found: dict[str, RecordedCall]) -> None:
    if "ended" in entry:
        call = found[entry["id"]]
        call.ended, call.error = _moment(entry["ended"]), str(entry["error"])
    elif len(found) < MOST_CALLS:
        place = (str(entry["place"][0]), int(entry["place"][1])) if entry["place"] else None
        id, trace_id, name, path = (str(entry[key]) for key in ("id", "trace_id", "name", "path"))
        call = RecordedCall(id, trace_id, name, path, place, _moment(entry["began"]))
        found[call.id] = call
