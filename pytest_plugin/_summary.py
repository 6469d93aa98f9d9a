"""The plugin's part of the terminal summary: isolation levels, leaks, unused controls, kept sandboxes,
traces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from ._emulator_source import AnyEmulator

#: (level, stronger levels that do not work, with reasons) of each emulator that ran, without repetition.
_LEVELS = pytest.StashKey[dict[tuple[str, str], None]]()
#: (section, test, lines) in the order in which they were added.
_ENTRIES = pytest.StashKey[list[tuple[str, str, list[str]]]]()
#: The traces that were written.
TRACES = pytest.StashKey[list["TraceEntry"]]()
_LEVELS_OUTPUT, _ENTRIES_OUTPUT, _TRACES_OUTPUT = "caged_isolation", "caged_entries", "caged_traces"


class TraceEntry(NamedTuple):
    """A trace that was written.

    Attributes:
        test: The node id.
        cause: The first line of the failure; empty for a test that passed.
        page: The path of the page.
        outcome: As in the trace's header.
    """

    test: str
    cause: str
    page: str
    outcome: str


LEAKS = "left open"
UNUSED = "never used"
KEPT = "sandboxes of failed tests"
NOTES = "notes"
_SECTIONS = (LEAKS, UNUSED, KEPT, NOTES)


def add_emulator(config: pytest.Config, emulator: AnyEmulator) -> None:
    """Add the isolation level of an emulator. An xdist worker sends it to the controller, which prints, at its end."""
    isolation = (emulator.isolation, "; ".join(emulator.isolation_refused))
    config.stash.setdefault(_LEVELS, {})[isolation] = None
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output[_LEVELS_OUTPUT] = [list(isolation)]


def add(config: pytest.Config, section: str, who: str, lines: list[str]) -> None:
    """Add an entry.

    Args:
        section: One of the sections above.
        who: What the entry is about, usually a test.
        lines: Its text.
    """
    config.stash.setdefault(_ENTRIES, []).append((section, who, lines))
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output.setdefault(_ENTRIES_OUTPUT, []).append([section, who, lines])


def add_trace(config: pytest.Config, test: str, cause: str, page: str, outcome: str) -> None:
    """Add a trace that was written. The arguments are those of `TraceEntry`."""
    entry = TraceEntry(test, cause, page, outcome)
    config.stash.setdefault(TRACES, []).append(entry)
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output.setdefault(_TRACES_OUTPUT, []).append(list(entry))


def collect(config: pytest.Config, output: dict[str, Any]) -> None:
    """Add what an xdist worker has sent."""
    for level, refused in output.get(_LEVELS_OUTPUT, ()):
        config.stash.setdefault(_LEVELS, {})[(level, refused)] = None
    for section, who, lines in output.get(_ENTRIES_OUTPUT, ()):
        config.stash.setdefault(_ENTRIES, []).append((section, who, lines))
    for entry in output.get(_TRACES_OUTPUT, ()):
        config.stash.setdefault(TRACES, []).append(TraceEntry(*entry))


def shown(path: str, config: pytest.Config) -> str:
    """A path relative to the current directory, where it is below it."""
    directory = os.path.join(config.invocation_params.dir, "")
    return path[len(directory) :] if path.startswith(directory) else path


def failed_traces(terminal: Any, config: pytest.Config) -> list[TraceEntry]:
    """The traces of failed tests. A test that passed when it was run again says so after its name."""
    passed, failed, errors = (
        {report.nodeid for report in terminal.stats.get(name, ())} for name in ("passed", "failed", "error")
    )
    again = passed - failed - errors
    return [
        one._replace(test=f"{one.test} (passed when it was run again)") if one.test in again else one
        for one in config.stash.get(TRACES, [])
        if one.outcome not in ("passed", "skipped")
    ]


def _write_traces(terminal: Any, config: pytest.Config) -> None:
    """Print where the traces of failed tests are, and how many others there are."""
    traces = config.stash.get(TRACES, [])
    failed = failed_traces(terminal, config)
    if failed:
        terminal.section("caged: traces of failed tests", sep="-", yellow=True)
    for one in failed:
        terminal.write_line(f"{one.test}:")
        terminal.write_line(f"  {shown(one.page, config)}")
    others = len(traces) - len(failed)
    if others and terminal.verbosity >= 0:
        directory = shown(os.path.dirname(traces[0].page), config)
        terminal.write_line(f"caged: {others} traces of tests that did not fail are in {directory}")


def write(terminal: Any, config: pytest.Config) -> None:
    """Print the sections that have entries, then the isolation levels."""
    entries = config.stash.get(_ENTRIES, [])
    for section in _SECTIONS:
        ours = [(who, lines) for of, who, lines in entries if of == section]
        if ours:
            terminal.section(f"caged: {section}", sep="-", yellow=True)
        for who, lines in ours:
            terminal.write_line(f"{who}:")
            for text in lines:
                for line in text.splitlines():
                    terminal.write_line(f"  {line}")
    _write_traces(terminal, config)
    for level, refused in config.stash.get(_LEVELS, {}):
        weaker = bool(refused) and level == "process"
        text = f"caged: sandboxes had {level} isolation"
        if weaker:
            text += f" only. {refused}"
        if weaker or terminal.verbosity >= 0:
            terminal.write_line(text, yellow=weaker)
