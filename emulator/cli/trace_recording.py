"""`caged-emulator trace record`: a command with an emulator of its own, and a trace of it."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from ..config import EmulatorConfig
from ..output_file import check_replaceable
from ..trace.file import Trace, TraceError, TraceHeader, read_header
from ..truncation import truncate
from . import exec as exec_command
from .recording import Recording
from .supervisor import CANNOT_RUN, NOT_FOUND

#: Characters of a command in the title of its trace.
TITLE_CHARACTERS = 300


def record(words: Sequence[str], output: Path, config: EmulatorConfig, is_verbose: bool) -> int:
    """Run a command, and write its trace.

    Args:
        words: The program and its arguments.
        output: The trace (`.jsonl`), or its page (`.html`).
        config: The emulator's settings.
        is_verbose: Print the emulator's whole log.

    Returns:
        The exit code of the command; 1 where it is 0 and there is no trace.

    Raises:
        click.ClickException: The file cannot be written, or the emulator does not start. Nothing was run.
    """
    lines, page = _files(output)
    title = truncate(f"$ {' '.join(map(shlex.quote, words))}", TITLE_CHARACTERS)
    before, began = _identity(lines), time.monotonic()
    code = exec_command.run(words, config, is_verbose, Recording(title, lines))
    took = time.monotonic() - began
    if _identity(lines) == before:
        click.echo(f"Error: there is no trace: the emulator ended without writing {lines}", err=True)
        return code or 1
    try:
        trace = Trace.read(lines)
        trace.header = _completed(trace.header, code, took)
        from ..trace.page import write_page

        trace.write(lines)
        write_page(trace, page)
    except (OSError, TraceError) as error:
        click.echo(f"Error: the trace could not be completed: {error}", err=True)
        return code or 1
    click.echo(f"trace: {page}  (or: caged-emulator trace show {shlex.quote(str(lines))})", err=True)
    return code


def _files(output: Path) -> tuple[Path, Path]:
    """The trace and its page, once it is clear that they can be written, and that what they replace is a trace."""
    if output.suffix not in (".jsonl", ".html"):
        raise click.UsageError(f"-o {output}: the name of a trace ends in .jsonl (or .html, for its page)")
    lines, page = output.with_suffix(".jsonl"), output.with_suffix(".html")
    if not os.access(lines.absolute().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"cannot write {lines}: {lines.parent} does not exist or is not writable")
    try:
        check_replaceable(lines)
        check_replaceable(page)
        read_header(lines)
    except FileNotFoundError:
        if page.exists():
            text = f"{page} exists, and belongs to no trace; remove it, or choose another name"
            raise click.UsageError(text) from None
    except TraceError as error:
        raise click.UsageError(f"{error}; it is not replaced: remove it, or choose another name") from None
    except OSError as error:
        raise click.UsageError(f"cannot replace {lines}: {error.strerror}") from None
    return lines, page


def _identity(path: Path) -> tuple[int, int]:
    """What differs when a file is replaced; zeros without a file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _completed(header: TraceHeader, code: int, seconds: float) -> TraceHeader:
    """The header with how the command has ended."""
    duration = header.duration_ms or round(seconds * 1000, 3)
    if code == 0:
        return replace(header, outcome="passed", duration_ms=duration)
    outcome = "error" if code in (CANNOT_RUN, NOT_FOUND) else "failed"
    return replace(header, outcome=outcome, duration_ms=duration, error_summary=_describe(code))


def _describe(code: int) -> str:
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
    return f"exit code {code} ({name})"
