"""The traces in a directory: what each is of, by its header alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..control.records import value
from .file import TraceError, read_header
from .text import duration, one_line, plain

#: Where the pytest plugin writes traces, below the directory in which pytest's cache is.
CACHED = Path(".pytest_cache", "d", "caged-traces")


@dataclass
class TraceEntry:
    """A trace in a directory."""

    file: str = value("Path of the file.", column=True)
    outcome: str = value("`passed`, `failed`, `error`, `skipped` or `unknown`.", column=True)
    duration: str = value("How long it took.", column=True)
    test: str = value("Node id of the test, or the command that was traced.", column=True, is_long=True)
    cause: str = value("The first line of the failure; empty without one.", column=True, is_long=True)
    duration_ms: float = value("How long it took, in milliseconds.", default=0.0)
    wall: str = value("When it began in real time (RFC 3339).", default="")


def find_directory(start: Path) -> Optional[Path]:
    """The directory of the traces of the last run of pytest; in `start` or the nearest directory above that has one."""
    for directory in (start, *start.parents):
        if (directory / CACHED).is_dir():
            return directory / CACHED
    return None


def list_traces(directory: Path) -> tuple[list[TraceEntry], list[str]]:
    """List the traces in a directory, in the order in which they began.

    Returns:
        The traces, and why other files with the suffix `.jsonl` are not listed.

    Raises:
        OSError: The directory cannot be read.
    """
    found, problems = [], []
    for path in sorted(directory.iterdir()):
        if path.suffix != ".jsonl" or path.name.startswith(".") or not path.is_file():
            continue
        try:
            header = read_header(path)
        except TraceError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        found.append(
            TraceEntry(
                file=str(path),
                outcome=one_line(plain(header.outcome)),
                duration=duration(header.duration_ms),
                test=one_line(plain(header.title)),
                cause=one_line(plain(header.error_summary)),
                duration_ms=header.duration_ms,
                wall=header.wall,
            )
        )
    return sorted(found, key=lambda one: (one.wall, one.file)), problems
