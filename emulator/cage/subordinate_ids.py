"""The users that an ordinary user may map into a user namespace: those of /etc/subuid and /etc/subgid.

With them a sandbox has the users 1 to 65535 besides root, as a machine of its own has; without them, root alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

#: Users of a sandbox besides root: up to `nobody` at least, and at most this many.
FEWEST, MOST = 65534, 65535
PROGRAMS = ("newuidmap", "newgidmap")
_SEARCHED = "/usr/local/bin:/usr/bin:/bin:/run/wrappers/bin"
_FILES = ("/etc/subuid", "/etc/subgid")

Range = tuple[int, int, int]


@dataclass(frozen=True)
class SubordinateIds:
    """What is mapped into a sandbox's user namespace.

    Attributes:
        users: Ranges of users: the first number inside, the first number outside, the count.
        groups: Ranges of groups.
        newuidmap: The path of the program that maps users.
        newgidmap: The path of the program that maps groups.
    """

    users: tuple[Range, ...]
    groups: tuple[Range, ...]
    newuidmap: str
    newgidmap: str

    @property
    def count(self) -> int:
        """The number of users that a sandbox has."""
        return min(sum(part[2] for part in ranges) for ranges in (self.users, self.groups))

    def as_json(self) -> dict[str, Any]:
        """Return it as `inside.id_mapping` needs it."""
        return {
            "users": [list(part) for part in self.users],
            "groups": [list(part) for part in self.groups],
            "newuidmap": self.newuidmap,
            "newgidmap": self.newgidmap,
        }


@dataclass(frozen=True)
class Unavailable:
    """Why a sandbox can have root alone.

    Attributes:
        reason: The reason.
        fix: What to do about it.
    """

    reason: str
    fix: str


def find() -> Union[SubordinateIds, Unavailable]:
    """Return what this process's user may map. Reads two small files."""
    name = _user_name()
    lines = f"add the line `{name}:FIRST:{MOST + 1}` to /etc/subuid and /etc/subgid, FIRST being an unused number"
    programs = [shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SEARCHED}") for program in PROGRAMS]
    missing = [program for program, path in zip(PROGRAMS, programs) if path is None]
    if missing:
        return Unavailable(f"there is no {' and no '.join(missing)}", f"install the package uidmap and {lines}")
    found = []
    for file, own in zip(_FILES, (os.geteuid(), os.getegid())):
        ranges = _ranges(Path(file), name)
        count = sum(size for _, size in ranges)
        if not ranges:
            return Unavailable(f"{file} has no line for {name}", lines)
        if count < FEWEST:
            return Unavailable(f"{file} gives {name} {count:,} numbers, and a sandbox needs {FEWEST:,}", lines)
        found.append(_map(own, ranges))
    users, groups = found
    return SubordinateIds(users, groups, *(str(program) for program in programs))


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _ranges(file: Path, name: str) -> list[tuple[int, int]]:
    """Return the first number and the count of each of the user's ranges, in the file's order."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        owner, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if owner in (name, str(os.geteuid())) and first.isdecimal() and count.isdecimal() and int(count):
            found.append((int(first), int(count)))
    return found


def _map(own: int, ranges: Sequence[tuple[int, int]]) -> tuple[Range, ...]:
    """Map 0 to a number, and those from 1 on to ranges."""
    parts: list[Range] = [(0, own, 1)]
    following = 1
    for first, count in ranges:
        taken = min(count, MOST + 1 - following)
        if taken > 0:
            parts.append((following, first, taken))
            following += taken
    return tuple(parts)
