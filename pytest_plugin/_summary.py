"""The line at the end of a run that says which walls the sandboxes had, if there were any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from caged.emulator import Emulator

#: (level, what was refused on the way there) of each emulator that ran, without repetition.
_WALLS = pytest.StashKey[dict[tuple[str, str], None]]()
_KEY = "caged_walls"


def note(config: pytest.Config, emulator: Emulator) -> None:
    """An emulator runs. In an xdist worker the controller, which prints, is told when the worker ends."""
    walls = (emulator.isolation, "; ".join(emulator.isolation_refused))
    config.stash.setdefault(_WALLS, {})[walls] = None
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output[_KEY] = [list(walls)]


def collect(config: pytest.Config, output: dict[str, Any]) -> None:
    for level, refused in output.get(_KEY, ()):
        config.stash.setdefault(_WALLS, {})[(level, refused)] = None


def write(terminal: Any, config: pytest.Config) -> None:
    for level, refused in config.stash.get(_WALLS, {}):
        weaker = bool(refused) and level == "process"
        text = f"caged: sandboxes had {level} walls"
        if weaker:
            text += f" only. {refused}"
        if weaker or terminal.verbosity >= 0:
            terminal.write_line(text, yellow=weaker)
