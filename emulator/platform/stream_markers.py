"""The markers of a streaming client, in what it types and in what its shell shows (docs/contract/wire-contract.md 4.3).

The client types three lines: one that prints BEGIN, the command, and one that prints EXIT with the command's exit code.
Both markers hold the same key, one for each command. Their form is described once, in the SDK; here are the patterns
that search for markers of any key.
"""

from __future__ import annotations

import re

from caged._sockets.markers import KEY_PATTERN, PREFIX, begin_marker, exit_marker

__all__ = ["BEGIN", "EXIT", "LONGEST", "PREFIX", "UNFINISHED_EXIT", "begin_marker", "exit_marker"]

#: BEGIN; the group is its key.
BEGIN = re.compile(begin_marker(f"({KEY_PATTERN})"))
#: EXIT with the exit code behind it; the groups are the key and the code.
EXIT = re.compile(rf"{exit_marker(f'({KEY_PATTERN})')}\s*(\d+)")
#: EXIT at the end of a text, to whose code more digits may still come.
UNFINISHED_EXIT = re.compile(rf"{exit_marker(KEY_PATTERN)}[ \t]*\d*\Z")
#: No marker with its code is longer. What was searched once is searched again only that far back.
LONGEST = 64
