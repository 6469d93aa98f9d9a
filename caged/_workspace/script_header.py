r"""The first lines of each script: a comment that says what the script is for, and the shell's usual options.

Logs of commands show their beginnings. The emulator reads the first line: it records the program's own command in place
of the script around it, and lets stubs answer it.

A sandbox may have other options for all of its shells, by `BASH_ENV` or an exported `SHELLOPTS` or `BASHOPTS`. No
script of the SDK would work under all of them, so they begin with the usual ones. With `BASH_ENV` it may also have
functions, in place of builtins too: `\command set` runs the builtin, and is no alias.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional

_RUN = "# caged-sdk run "
_HELPER = "# caged-sdk helper "
#: Resets the options of a shell that change what a script does.
USUAL_OPTIONS = "\\command set +aefuvxC"
# `$1` keeps the options that the shell had, for the command of a program.
_KEEP_OPTIONS = f'\\command set -- "$-";{USUAL_OPTIONS}'
# Of bash alone; globs and pipelines of the SDK's own are in helpers only.
_USUAL_GLOBS = '[ -z "$BASH_VERSION" ]||{ set +o pipefail;shopt -u dotglob failglob nocaseglob nocasematch nullglob;}'
#: Gives the shell the options of `$1` again, and takes `$1` away. Other shells than bash have no options of a sandbox;
#: `c` is no option that can be set.
RESTORE_OPTIONS = '[ -z "$BASH_VERSION" ]||\\command set -"${1%c}";\\command shift;'
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
    """The first lines of the script that runs a command."""
    return f"{_RUN}{name} {_encoded(line)}\n{_KEEP_OPTIONS}\n"


def helper_header(title: str) -> str:
    """The first lines of another script."""
    return f"{_HELPER}{_encoded(title)}\n{_KEEP_OPTIONS}\n{_USUAL_GLOBS}\n\\command trap - EXIT\n"


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
