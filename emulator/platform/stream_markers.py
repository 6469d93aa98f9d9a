"""The markers of a streaming client, in what it types and in what its shell shows (docs/contract/wire-contract.md 4.3).

The client types three lines: one that prints BEGIN, the command, and one that prints EXIT with the command's exit code.
Both markers hold the same number, one for each command.
"""

from __future__ import annotations

import re

_NUMBER = "[0-9a-f]{16}"
#: BEGIN; the group is its number.
BEGIN = re.compile(rf"__CAGED_BEGIN_({_NUMBER})__")
#: EXIT with the exit code behind it; the groups are the number and the code.
EXIT = re.compile(rf"__CAGED_EXIT_({_NUMBER})__\s*(\d+)")
#: EXIT at the end of a text, to whose code more digits may still come.
UNFINISHED_EXIT = re.compile(rf"__CAGED_EXIT_{_NUMBER}__[ \t]*\d*\Z")
#: No marker with its code is longer. What was searched once is searched again only that far back.
LONGEST = 64


def begin_marker(number: str) -> str:
    """The BEGIN marker with this number."""
    return f"__CAGED_BEGIN_{number}__"


def exit_marker(number: str) -> str:
    """The EXIT marker of the command whose BEGIN had this number."""
    return f"__CAGED_EXIT_{number}__"
