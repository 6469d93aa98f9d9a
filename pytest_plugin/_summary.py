"""The plugin's part of the terminal summary: isolation levels, leaks, unused controls, kept sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ._emulator_source import AnyEmulator

#: (level, stronger levels that do not work, with reasons) of each emulator that ran, without repetition.
_LEVELS = pytest.StashKey[dict[tuple[str, str], None]]()
#: (section, test, lines) in the order in which they were added.
_ENTRIES = pytest.StashKey[list[tuple[str, str, list[str]]]]()
_LEVELS_OUTPUT, _ENTRIES_OUTPUT = "caged_isolation", "caged_entries"

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


def collect(config: pytest.Config, output: dict[str, Any]) -> None:
    """Add what an xdist worker has sent."""
    for level, refused in output.get(_LEVELS_OUTPUT, ()):
        config.stash.setdefault(_LEVELS, {})[(level, refused)] = None
    for section, who, lines in output.get(_ENTRIES_OUTPUT, ()):
        config.stash.setdefault(_ENTRIES, []).append((section, who, lines))


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
    for level, refused in config.stash.get(_LEVELS, {}):
        weaker = bool(refused) and level == "process"
        text = f"caged: sandboxes had {level} isolation"
        if weaker:
            text += f" only. {refused}"
        if weaker or terminal.verbosity >= 0:
            terminal.write_line(text, yellow=weaker)
