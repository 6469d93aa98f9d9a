"""What is known of a file of a sandbox, and the shell that prints it."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal, Optional

from .._errors import CagedError
from .._naming import public

EntryType = Literal["file", "directory", "symlink", "other"]
#: The first and the last second of a datetime, since 1970.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799


@public
@dataclass(frozen=True)
class FileStat:
    """What is known of one file or directory.

    Attributes:
        path: In the sandbox, absolute.
        type: ``file``, ``directory``, ``symlink``, or ``other``: a device, a named pipe, a socket.
        size: Bytes.
        mode: Permission bits, e.g. ``0o644``; with set-user-ID, set-group-ID and sticky bit.
        mtime: Time of the last change, UTC, to the second; for one before the year 1 or after 9999 the nearest.
        uid, gid: Owner and group.
        owner, group: Their names; ``UNKNOWN`` where the sandbox has none.
        target: Of a symbolic link, as it is written there; None for all else.
    """

    path: str
    type: EntryType
    size: int
    mode: int
    mtime: datetime
    uid: int
    gid: int
    owner: str
    group: str
    target: Optional[str] = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """True for a regular file."""
        return self.type == "file"

    @property
    def is_dir(self) -> bool:
        """True for a directory."""
        return self.type == "directory"

    @property
    def is_symlink(self) -> bool:
        """True for a symbolic link."""
        return self.type == "symlink"


#: A shell function that prints records of its arguments, which are paths. `$k` is a text that no path contains; a
#: record begins a line with it, so that a path may contain line breaks. What vanishes meanwhile has no record.
EMIT = """\
emit() {
  stat -c "${k}S%f %s %Y %u %g %U %G %n" -- "$@" 2>/dev/null
  for l in "$@";do
    if [ -L "$l" ];then printf '%sL%s\\n%sT' "$k" "$l" "$k";readlink -- "$l"||echo;fi
  done
}
"""


def parse(output: str, key: str) -> list[FileStat]:
    """The records that `EMIT` printed with a key, in order.

    Raises:
        CagedError: Something else is among them.
    """
    # Paths that are not UTF-8 may be the same here.
    found: list[FileStat] = []
    targets: dict[str, str] = {}
    link = ""
    for record in f"\n{output.removesuffix(chr(10))}".split(f"\n{key}")[1:]:
        kind, text = record[:1], record[1:]
        if kind == "S":
            found.append(_stat(text))
        elif kind == "L":
            link = text
        elif kind == "T":
            targets[link] = text
        else:
            raise _unreadable(record)
    return [replace(made, target=targets.get(made.path)) if made.is_symlink else made for made in found]


def _stat(text: str) -> FileStat:
    try:
        mode_text, size, mtime, uid, gid, owner, group, path = text.split(" ", 7)
        mode = int(mode_text, 16)
        # Files can have times of which a datetime is not capable.
        changed = datetime.fromtimestamp(min(max(_FIRST, int(mtime)), _LAST), timezone.utc)
        return FileStat(path, _type(mode), int(size), stat.S_IMODE(mode), changed, int(uid), int(gid), owner, group)
    except (ValueError, OverflowError, OSError):
        raise _unreadable(text) from None


def _unreadable(text: str) -> CagedError:
    return CagedError(
        f"the sandbox's list of files has an entry that cannot be read: {text[:200]!r}; `stat` or `find` in the sandbox"
        " may have been replaced"
    )


def _type(mode: int) -> EntryType:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"
