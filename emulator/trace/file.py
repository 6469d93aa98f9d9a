"""The file of a trace: JSON lines, of which the first is the header and each other is a step. The format, with the
meaning of each key: docs/trace-format.md."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional, Union, get_args, get_origin, get_type_hints

from ..control.step import FORMAT, Step
from ..output_file import replacement
from ..regular_file import open_regular

#: The longest first line that is read for the header alone.
HEADER_BYTES = 16 * 1024**2


class TraceError(Exception):
    """A file is not a trace, or one of a format that this version does not know."""


@dataclass
class UnusedControl:
    """A fault, stub or reply that never applied.

    Attributes:
        id: Its id.
        described: What it is, in one line, such as `fault sandboxes.exec 503`.
        source: Where it was added: `path:line`; empty where that is not known.
        nearest: What came nearest to it, one line each, the nearest first.
    """

    id: str
    described: str
    source: str = ""
    nearest: list[str] = field(default_factory=list)


@dataclass
class TraceHeader:
    """What a trace is of.

    Attributes:
        title: The node id of a test, or the command that was traced.
        outcome: `passed`, `failed`, `error`, `skipped` or `unknown`.
        wall: When it began in real time (RFC 3339).
        start: When it began, by the clock of the steps' `start`.
        duration_ms: How long it took in real time.
        target: `emulator` or `live`.
        error: The text of the failure as pytest shows it; empty without one.
        error_summary: Its first line, such as `AssertionError: assert 2 == 1`.
        error_source: The line that failed: `path`, `line`, and `code`, pairs of line numbers and lines around it.
        phase: `setup`, `call` or `teardown`: where it failed.
        unused: Controls that never applied.
        log: The newest lines of the emulator's log, about the test's accounts.
        accounts: Names of accounts by id.
        isolation: The isolation level of sandboxes.
        cost_usd: What the sandboxes and the agents cost.
        notes: What was cut or is not known, one sentence each.
        version: The version of caged that has written the file.
        kept: Where the sandboxes' files were kept, by id of the sandbox.
    """

    title: str
    outcome: str = "unknown"
    wall: str = ""
    start: float = 0.0
    duration_ms: float = 0.0
    target: str = "emulator"
    error: str = ""
    error_summary: str = ""
    error_source: Optional[dict[str, Any]] = None
    phase: str = ""
    unused: list[UnusedControl] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)
    isolation: str = ""
    cost_usd: float = 0.0
    notes: list[str] = field(default_factory=list)
    version: str = ""
    kept: dict[str, str] = field(default_factory=dict)


@dataclass
class Trace:
    """A header with its steps, in the order in which they began."""

    header: TraceHeader
    steps: list[Step]

    def lines(self) -> Iterable[str]:
        """The lines of its file."""
        yield json.dumps({"type": "trace", "format": FORMAT, **asdict(self.header)}, ensure_ascii=False)
        for step in self.steps:
            yield json.dumps({"type": "step", **asdict(step)}, ensure_ascii=False)

    def write(self, path: Path) -> None:
        """Write its file at once: a reader never sees a part of it.

        Raises:
            OSError: It cannot be written; what there was before is still there.
        """
        with replacement(path) as beside:
            with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.writelines(f"{line}\n" for line in self.lines())

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Read a file.

        Raises:
            OSError: It cannot be read.
            TraceError: It is not a trace, or of another format.
        """
        header: Optional[TraceHeader] = None
        steps = []
        with open_regular(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    entry = json.loads(line.decode("utf-8"))
                    kind = entry.pop("type")
                    if header is None:
                        header = _header(entry, kind, path)
                    elif kind == "step":
                        steps.append(Step(**_known(Step, entry)))
                except TraceError:
                    raise
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                    raise TraceError(f"{path}: line {number} is not one of a trace: {error}") from None
        if header is None:
            raise TraceError(f"{path}: is empty, and so not a trace")
        return cls(header, steps)


def read_header(path: Path) -> TraceHeader:
    """Read only the header of a file.

    Raises:
        OSError: It cannot be read.
        TraceError: It is not a trace, or of another format.
    """
    with open_regular(path) as file:
        line = file.readline(HEADER_BYTES)
    if not line:
        raise TraceError(f"{path}: is empty, and so not a trace")
    try:
        entry = json.loads(line.decode("utf-8"))
        return _header(entry, entry.pop("type"), path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TraceError(f"{path}: line 1 is not one of a trace: {error}") from None


def _header(entry: dict[str, Any], kind: str, path: Path) -> TraceHeader:
    if kind != "trace":
        raise TraceError(f"{path}: its first line is not the header of a trace")
    if entry.pop("format", None) != FORMAT:
        raise TraceError(f"{path}: is of another format than {FORMAT}; read it with the version that has written it")
    unused = [UnusedControl(**_known(UnusedControl, one)) for one in entry.pop("unused", [])]
    return TraceHeader(**_known(TraceHeader, entry), unused=unused)


def _known(record: type, entry: dict[str, Any]) -> dict[str, Any]:
    """The values that this version knows: a later one may have written more."""
    types = _types_of(record)
    known = {name: value for name, value in entry.items() if name in types}
    for name, given in known.items():
        if not _has_type(given, types[name]):
            raise ValueError(f"{name} is {given!r:.60}, which is of another type")
    return known


#: Numbers of a trace are seconds, milliseconds and dollars; beyond this they cannot be shown.
_LARGEST = 1e15


@functools.cache
def _types_of(record: type) -> dict[str, Any]:
    return get_type_hints(record)


def _has_type(given: Any, wanted: Any) -> bool:
    """Whether a value of a file is of the type that a field is annotated with."""
    if wanted is Any:
        return True
    if wanted is float:
        return isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < _LARGEST
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is Union:
        return any(_has_type(given, part) for part in parts)
    if origin is list:
        return isinstance(given, list) and all(_has_type(one, parts[0]) for one in given)
    if origin is dict:
        return isinstance(given, dict) and all(_has_type(one, parts[1]) for one in given.values())
    return isinstance(given, wanted)
