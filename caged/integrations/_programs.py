"""The command line that runs one program, as frameworks call it: by its words, without a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def program_line(words: Sequence[str]) -> str:
    """Return the line for `run` that runs a program.

    Args:
        words: A program and its arguments; builtins and keywords of the shell are not known.
    """
    # If `exec` replaced the shell of `run` itself, the result would take a second request. What that shell says about a
    # program which a signal has ended is not the program's output.
    return f"exec 3>&2 2>/dev/null;(exec {shlex.join(words)}) 2>&3 3>&-"
