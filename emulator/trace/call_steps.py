"""Steps of calls of the SDK, as the process that made them has observed them."""

from __future__ import annotations

import linecache
import os
from collections.abc import Mapping
from typing import Any, Callable, Optional, Protocol

from ..control.clock import rfc3339
from ..control.step import Step, title_of

#: Lines around the line of a call that its step shows.
CONTEXT_LINES = 2


class ObservedCall(Protocol):
    """A call that was observed.

    Attributes:
        id: Id of its step, which is the id of the span in its header `traceparent`.
        trace_id: Id of the trace in that header.
        name: Its name, such as `sandboxes.exec`.
        path: Below `/v1`.
        place: The file and the line that made it.
        began, ended: By `time.perf_counter`; `ended` is None while it runs.
        error: What it raised; empty where it raised nothing.
    """

    @property
    def id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def place(self) -> Optional[tuple[str, int]]: ...
    @property
    def began(self) -> float: ...
    @property
    def ended(self) -> Optional[float]: ...
    @property
    def error(self) -> str: ...


def call_step(
    call: ObservedCall,
    root: str,
    offset: float,
    epoch: float,
    accounts: Mapping[str, str],
    redacted: Callable[[str], str],
    refusal: str = "",
    nearest: Optional[tuple[str, int]] = None,
) -> Step:
    """Make the step of a call.

    Args:
        call: The call.
        root: Paths of sources are shown relative to it.
        offset: What has to be added to `time.perf_counter` to get the clock of the steps.
        epoch: What has to be added to it to get real time, in seconds since 1970.
        accounts: Ids of accounts by the call that was made with their keys.
        redacted: Redacts a text.
        refusal: Why its request was not done although it was answered with success; redacted.
        nearest: The nearest line of the user's code.
    """
    detail: dict[str, Any] = {"call": call.name, "trace_id": call.trace_id}
    error = redacted(call.error) if call.error else refusal
    if error:
        detail["error"] = error
    if call.place is not None:
        detail["source"] = source_of(*call.place, root, redacted)
    if nearest is not None and nearest != call.place:
        detail["nearest_source"] = source_of(*nearest, root, redacted)
    return Step(
        **times_of(call.began, call.ended, offset, epoch),
        id=call.id,
        kind="call",
        title=title_of(redacted(f"{call.name} {_subject(call.path)}".strip())),
        account=accounts.get(call.id, ""),
        sandbox=sandbox_of(call.path),
        status="running" if call.ended is None else "error" if error else "ok",
        detail=detail,
    )


def source_of(path: str, line: int, root: str, redacted: Callable[[str], str]) -> dict[str, Any]:
    """A line of a source file with those around it, as the detail of a step has it."""
    first = max(1, line - CONTEXT_LINES)
    code = [(number, linecache.getline(path, number)) for number in range(first, line + CONTEXT_LINES + 1)]
    return {
        "path": shown_path(path, root),
        "line": line,
        "code": [[number, redacted(text.rstrip("\r\n"))] for number, text in code if text],
    }


def shown_path(path: str, root: str) -> str:
    """A path relative to the root directory, where it is below it."""
    return os.path.relpath(path, root) if path.startswith(os.path.join(root, "")) else path


def times_of(began: float, ended: Optional[float], offset: float, epoch: float) -> dict[str, Any]:
    """The times of a step, by `time.perf_counter`; see `call_step`."""
    wall = rfc3339(began + epoch)
    return {
        "at": wall,
        "wall": wall,
        "start": max(0.0, round(began + offset, 6)),
        "duration_ms": None if ended is None else round((ended - began) * 1000, 3),
    }


def sandbox_of(path: str) -> str:
    """The sandbox that a path names."""
    parts = path.split("?")[0].split("/")[2 if path.startswith("/v1/") else 1 :]
    return parts[1] if len(parts) > 1 and parts[0] == "sandboxes" else ""


def _subject(path: str) -> str:
    """The id that a path names, for a title."""
    parts = path.split("?")[0].split("/")
    return parts[2] if len(parts) > 2 and "_" in parts[2] else ""
