"""The first line of each script: a comment that says what the script is for.

Logs of commands show their beginnings. The emulator reads the line: it records the program's own command in place of
the script around it, and lets stubs answer it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional

_RUN = "# caged-sdk run "
_HELPER = "# caged-sdk helper "
# A script is one argument of a program, which is 128 KiB at most on Linux; a command in it takes up to half of that.
_LONGEST = 40 * 1024


@dataclass(frozen=True)
class ScriptHeader:
    """What a script is for.

    Attributes:
        title: The command of a program, or what a helper does.
        name: That of the command, with which its script prints the result; empty for a helper.
    """

    title: str
    name: str = ""

    @property
    def is_helper(self) -> bool:
        """Whether the script runs no command of a program."""
        return not self.name


def run_header(name: str, line: str) -> str:
    """The first line of the script that runs a command."""
    return f"{_RUN}{name} {_encoded(line)}\n"


def helper_header(title: str) -> str:
    """The first line of another script."""
    return f"{_HELPER}{_encoded(title)}\n"


def read_header(script: str) -> Optional[ScriptHeader]:
    """What a script is for; None for a command that is not the SDK's."""
    first = script.split("\n", 1)[0]
    try:
        if first.startswith(_HELPER):
            return ScriptHeader(_text(first[len(_HELPER) :]))
        if first.startswith(_RUN):
            name, _, line = first[len(_RUN) :].partition(" ")
            return ScriptHeader(_text(line), name) if name else None
    except ValueError:
        pass
    return None


def _encoded(text: str) -> str:
    """A text as JSON; the beginning of one that is too long."""
    whole = json.dumps(text)
    # A character takes up to 12 bytes.
    return whole if len(whole) <= _LONGEST else json.dumps(f"{text[: _LONGEST // 12]}...")


def _text(encoded: str) -> str:
    text = json.loads(encoded)
    if not isinstance(text, str):
        raise ValueError(encoded)
    return text
