"""Reading a tar file of any origin, member by member. Whatever this emulator does not write itself is refused.

Python's `tarfile` is for archives that are trusted: its `filter=` is missing from early releases of 3.9, it recurses
per extended header, and its parts read the same name differently. Here every name has one form ("./a/b"), members come
in the order of a walk through the tree, and every number has a bound. Names are bytes, as they are to the kernel.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Optional

from ..workers import checkpoint
from . import archive_form

CHUNK = 1 << 20
BLOCK = 512
#: Bytes of one name, of a whole path in an archive, and of a link's target; members of one archive.
MOST_NAME, MOST_PATH, MOST_TARGET, MOST_MEMBERS = 255, 1 << 20, 4095, 2_000_000
_MOST_HEADER = MOST_PATH + (1 << 16)
_MOST_SIZE = 1 << 50
_MOST_OWNER = (1 << 32) - 2
_KINDS = {b"0": "file", b"\0": "file", b"1": "hard link", b"2": "link", b"5": "directory", b"6": "fifo"}
_NOT_NAMES = frozenset({b"", b".", b".."})
_OCTAL = re.compile(rb" *([0-7]{1,21})[ \0]*\Z")
_DIGITS = re.compile(rb"\d{1,16}\Z")
_TIME = re.compile(rb"(-?)(\d{1,12})(?:\.(\d{1,30}))?\Z")


class ArchiveError(ValueError):
    """The archive is damaged, or not of the form that is accepted; the text names the member."""


@dataclass
class TarMember:
    """One entry of an archive.

    Attributes:
        parts: Its path below the archive's own directory; () for that directory itself.
        kind: "file", "directory", "link", "hard link" or "fifo".
        mode: Its permission bits.
        mtime: Its modification time in nanoseconds.
        size: Bytes of its content.
        target: Of a link as it is written; of a hard link the other file's path (see `target_parts`).
        owner: Numbers of its user and group.
        comment: The text that an archive can have beside a member.
    """

    parts: tuple[bytes, ...]
    kind: str
    mode: int
    mtime: int
    size: int
    target: bytes
    owner: tuple[int, int] = (0, 0)
    comment: bytes = b""

    @property
    def printable(self) -> str:
        return printable(b"/".join((b".", *self.parts)))

    @property
    def times(self) -> tuple[int, int]:
        """Access and modification time, for os.utime."""
        return self.mtime, self.mtime

    @property
    def target_parts(self) -> tuple[bytes, ...]:
        """The path in the archive of the file that a hard link leads to."""
        return _split(self.target, f"the target of the hard link {self.printable}")


def printable(name: bytes) -> str:
    """Return a name as an error text shows it: on one line, and not too long."""
    text = repr(os.fsdecode(name))
    return text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}"


class TarReader:
    """Iterates over the members of an archive; `content` yields the content of the newest one, once.

    Attributes:
        form: `archive_form.WHOLE` or `WRITABLE_ONLY` when the first member says so, else `ONE_DIRECTORY`. Known after
            the first member.
    """

    def __init__(self, file: IO[bytes], tree: bool = True) -> None:
        """Args:
        file: The archive, read from its current position. Only `read` is used.
        tree: Whether names must be "./a/b" in the order of a walk. Otherwise a name is one part, which the caller
            checks.
        """
        self.form = archive_form.ONE_DIRECTORY
        self._file = file
        self._tree = tree
        self._left = self._padding = 0
        self._path: list[bytes] = []  # the directories around the newest member
        self._names: list[bytes] = []  # the newest name in each of those, and in the archive's own
        self._count = 0

    def __iter__(self) -> Iterator[TarMember]:
        while True:
            checkpoint()
            self._skip()
            member = self._next()
            if member is None:
                if not self._count:
                    raise ArchiveError("it is empty")
                return
            self._count += 1
            if self._count > MOST_MEMBERS:
                raise ArchiveError(f"it has more than {MOST_MEMBERS:,} members")
            if self._tree:
                self._check_order(member)
                self._check_form(member)
            yield member

    def content(self) -> Iterator[bytes]:
        while self._left:
            checkpoint()
            piece = self._file.read(min(self._left, CHUNK))
            if not piece:
                raise ArchiveError("it ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def _skip(self) -> None:
        for _piece in self.content():
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise ArchiveError("it ends too early")
            data += more
        return data

    def _next(self) -> Optional[TarMember]:
        header = self._exactly(BLOCK)
        if not header.strip(b"\0"):
            return None
        kind, size = header[156:157], _size_of(header)
        records: dict[bytes, bytes] = {}
        if kind == b"x":
            if size > _MOST_HEADER:
                raise ArchiveError(f"an extended header has {size:,} bytes; {_MOST_HEADER:,} are allowed")
            records = _records(self._exactly(size))
            self._exactly(-size % BLOCK)
            header = self._exactly(BLOCK)
            kind, size = header[156:157], _size_of(header)
        name = records.get(b"path") or _text(header[0:100])
        if header[257:263] == b"ustar\0" and header[345] and b"path" not in records:
            name = _text(header[345:500]) + b"/" + name
        if kind not in _KINDS:
            raise ArchiveError(f"{printable(name)} is of a kind that is not allowed (type {kind!r})")
        if b"size" in records:
            if not _DIGITS.match(records[b"size"]):
                raise ArchiveError(f"the size of {printable(name)} is not a number")
            size = int(records[b"size"])
        if size > _MOST_SIZE or (size and _KINDS[kind] != "file"):
            raise ArchiveError(f"{printable(name)} claims to have {size:,} bytes of content")
        self._left, self._padding = size, -size % BLOCK
        return TarMember(
            parts=_split(name, "a member", kind == b"5") if self._tree else (name,),
            kind=_KINDS[kind],
            mode=_octal(header[100:108], "mode", name) & 0o7777,
            mtime=_time(records.get(b"mtime") or b"%d" % _octal(header[136:148], "mtime", name), name),
            size=size,
            target=_target(records.get(b"linkpath") or _text(header[157:257]), _KINDS[kind], name),
            owner=(
                _owner(records.get(b"uid"), header[108:116], name),
                _owner(records.get(b"gid"), header[116:124], name),
            ),
            comment=records.get(b"comment", b""),
        )

    def _check_form(self, member: TarMember) -> None:
        if self._count == 1:
            if member.comment in (archive_form.WHOLE, archive_form.WRITABLE_ONLY):
                self.form = member.comment
        elif self.form:
            refusal = archive_form.refusal(member.parts, member.kind, member.size, self.form)
            if refusal:
                raise ArchiveError(f"{member.printable} {refusal}")

    def _check_order(self, member: TarMember) -> None:
        """Refuse members that are not in the order of a walk, which enters each directory once, names sorted. So the
        archive itself has made a member's directory, and no name comes twice."""
        if not member.parts:
            if self._count > 1:
                raise ArchiveError("'.' comes twice")
            if member.kind != "directory":
                raise ArchiveError("it does not begin with the directory itself")
            return
        if self._count == 1:
            raise ArchiveError(f"it begins with {member.printable}, not with the directory itself")
        *above, name = member.parts
        if above != self._path[: len(above)]:
            raise ArchiveError(f"{member.printable} is not in a directory that the archive has just put there")
        del self._path[len(above) :]
        if len(self._names) > len(above):
            if name <= self._names[len(above)]:
                raise ArchiveError(f"{member.printable} comes twice, or out of order")
            del self._names[len(above) :]
        self._names.append(name)
        if member.kind == "directory":
            self._path.append(name)


def _size_of(header: bytes) -> int:
    """The size of the content after a header, whose checksum is tested."""
    if _octal(header[148:156], "checksum", header[0:100]) != sum(header) - sum(header[148:156]) + 8 * 32:
        raise ArchiveError("the checksum of a header is wrong")
    return _octal(header[124:136], "size", header[0:100])


def _octal(field: bytes, what: str, name: bytes) -> int:
    if not field.strip(b" \0"):
        return 0
    found = _OCTAL.match(field)
    if found is None:
        raise ArchiveError(f"the {what} of {printable(_text(name))} is not an octal number")
    return int(found[1], 8)


def _owner(record: Optional[bytes], field: bytes, name: bytes) -> int:
    if record is not None and not _DIGITS.match(record):
        raise ArchiveError(f"the owner of {printable(name)} is not a number")
    number = int(record) if record is not None else _octal(field, "owner", name)
    if number > _MOST_OWNER:
        raise ArchiveError(f"the owner of {printable(name)} is {number}; {_MOST_OWNER:,} is the highest number")
    return number


def _time(text: bytes, name: bytes) -> int:
    found = _TIME.match(text)
    if found is None:
        raise ArchiveError(f"the time of {printable(name)} is not a number of seconds")
    sign, seconds, rest = found[1], found[2], found[3] or b""
    nanoseconds = int(seconds) * 10**9 + int(rest[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _records(data: bytes) -> dict[bytes, bytes]:
    """Parse the records of an extended header, each "LENGTH KEY=VALUE\\n"."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 17].partition(b" ")
        end = at + int(digits) if space and _DIGITS.match(digits) else 0
        key, equals, value = data[at + len(digits) + 1 : end].partition(b"=")
        if not at < end <= len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("an extended header is damaged")
        if key in records or key.startswith((b"GNU.", b"SUN.")):
            raise ArchiveError(f"an extended header holds {printable(key)}, or holds it twice, which is not allowed")
        if b"\0" in value and key in (b"path", b"linkpath"):
            raise ArchiveError(f"the name {printable(value[:-1])} holds a zero byte")
        records[key] = value[:-1]
        at = end
    return records


def _target(target: bytes, kind: str, name: bytes) -> bytes:
    if kind == "hard link":
        return target
    if kind != "link":
        return b""
    if not 0 < len(target) <= MOST_TARGET:
        raise ArchiveError(f"the target of the link {printable(name)} has {len(target)} bytes, not 1 to {MOST_TARGET}")
    return target


def _split(name: bytes, what: str, directory: bool = False) -> tuple[bytes, ...]:
    """Split "./a/b" into its parts. Any other form of the same path is refused."""
    if len(name) > MOST_PATH:
        raise ArchiveError(f"{what}, {printable(name)}, has a path of {len(name):,} bytes; {MOST_PATH:,} are allowed")
    first, *parts = (name[:-1] if directory and name.endswith(b"/") else name).split(b"/")
    if first != b"." or not _NOT_NAMES.isdisjoint(parts):
        raise ArchiveError(f"{what}, {printable(name)}, leads out of its directory, or is not written as './name'")
    mark = archive_form.WHITEOUT  # the name of a deleted entry may be as long as any, and its mark is longer
    longest = max((part[len(mark) if part.startswith(mark) else 0 :] for part in parts), key=len, default=b"")
    if len(longest) > MOST_NAME:
        raise ArchiveError(
            f"{what} has a name of {len(longest):,} bytes, {printable(longest)}; {MOST_NAME} are allowed"
        )
    return tuple(parts)
