"""What the end of a run says: which isolation the sandboxes had, what tests left open or did not use, what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ._emulators import AnyEmulator

#: (level, what was refused on the way there) of each emulator that ran, without repetition.
_LEVELS = pytest.StashKey[dict[tuple[str, str], None]]()
#: (section, test, lines) in the order in which they came.
_SAID = pytest.StashKey[list[tuple[str, str, list[str]]]]()
_LEVELS_OUTPUT, _SAID_OUTPUT = "caged_isolation", "caged_said"

LEAKS = "left open"
UNUSED = "asked for and not used"
KEPT = "sandboxes of failed tests"
NOTES = "notes"
_SECTIONS = (LEAKS, UNUSED, KEPT, NOTES)


def note(config: pytest.Config, emulator: AnyEmulator) -> None:
    """An emulator runs. In an xdist worker the controller, which prints, is told when the worker ends."""
    isolation = (emulator.isolation, "; ".join(emulator.isolation_refused))
    config.stash.setdefault(_LEVELS, {})[isolation] = None
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output[_LEVELS_OUTPUT] = [list(isolation)]


def say(config: pytest.Config, section: str, who: str, lines: list[str]) -> None:
    """For the end of the run, in one of the sections above; `who` is a test, as a rule."""
    config.stash.setdefault(_SAID, []).append((section, who, lines))
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output.setdefault(_SAID_OUTPUT, []).append([section, who, lines])


def collect(config: pytest.Config, output: dict[str, Any]) -> None:
    for level, refused in output.get(_LEVELS_OUTPUT, ()):
        config.stash.setdefault(_LEVELS, {})[(level, refused)] = None
    for section, who, lines in output.get(_SAID_OUTPUT, ()):
        config.stash.setdefault(_SAID, []).append((section, who, lines))


def write(terminal: Any, config: pytest.Config) -> None:
    said = config.stash.get(_SAID, [])
    for section in _SECTIONS:
        ours = [(who, lines) for of, who, lines in said if of == section]
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
