"""Files of a bound sandbox: read, write, list, move, copy, remove."""

from __future__ import annotations

import base64
import codecs
import shlex
from collections.abc import Callable
from typing import IO, Any, Optional, Union

from .. import _arguments as arguments
from .._core import CallPlan
from .._errors import (
    CagedError,
    CagedFileNotFoundError,
    CagedIsADirectoryError,
    CagedPathError,
)
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound, decode_base64, new_name
from .directory_listing import list_
from .file_stat import EMIT, FileStat, parse
from .path_scripts import (
    CHECK_MOUNTS,
    CHECK_OUTSIDE,
    CHECK_REPLACED,
    CHECK_WRITABLE,
    FOLLOW,
    IS_SAME_MOUNT,
    MAKE_PARENTS,
    MOUNTS,
    REPLACE,
    number,
    removal,
    require_directory,
    variables,
    work_on,
    written_file,
)
from .paths import ROOT, SandboxPath, absolute, absolute_new, names_directory
from .pieces import PIECE, append, discard, make_place

Content = Union[str, bytes, bytearray, memoryview, IO[bytes], IO[str]]
# The method named `list` hides the builtin inside the classes.
FileStats = list[FileStat]

#: Bytes of a file that are sent in the script that writes it. Each of the path's, which is in it in several forms,
#: takes the place of some.
_SENT_IN_SCRIPT = 64 * 1024
_BYTES_OF_PATH = 8


def read_bytes(binding: Binding, path: Any) -> CallPlan[bytes]:
    """Read a whole file."""
    checked = absolute(path)
    content = bytearray()
    size, piece = yield from first_piece(binding, checked, require_directory(path))
    content += piece
    # A file of /proc has no size, and all of it comes with the first piece. One that is not whole is the last, also of
    # a file that has become shorter.
    while len(content) < size and len(piece) == PIECE:
        piece = yield from next_piece(binding, checked, len(content) // PIECE)
        content += piece
    return bytes(content)


def first_piece(binding: Binding, path: str, check: str = "") -> CallPlan[tuple[int, bytes]]:
    """The size of a file, and its first piece, in one call.

    Args:
        check: Lines of shell that come before.

    Raises:
        CagedPathError: It cannot be read.
    """
    body = f"{variables(p=path)}{check}" + (
        's=$(stat -L -c %s -- "$p")||exit 1\n'
        "[ -d \"$p\" ]&&refuse 'Is a directory'\n"
        "[ -f \"$p\" ]||refuse 'it is a device, a named pipe or a socket'\n"
        "echo $s\n"
        f'if [ $s -le {PIECE} ];then base64 "$p";exit;fi\n'
        "[ -r \"$p\" ]||refuse 'Permission denied'\n"
        f'dd if="$p" bs={PIECE} count=1 2>/dev/null|base64\n'
    )
    output = yield from work_on(binding, "cannot read", path, body)
    size, _, encoded = output.partition("\n")
    return number(size), decode_base64(binding, encoded)


def next_piece(binding: Binding, path: str, number: int) -> CallPlan[bytes]:
    """A further piece of a file, counted from 0; empty at its end."""
    body = variables(p=path) + (
        f'stat -L -c \'\' -- "$p" >/dev/null||exit 1\ndd if="$p" bs={PIECE} skip={number} count=1 2>/dev/null|base64\n'
    )
    output = yield from work_on(binding, "cannot read", path, body)
    return decode_base64(binding, output)


def read_text(binding: Binding, path: Any, encoding: Any) -> CallPlan[str]:
    """Read a whole file as text."""
    name = arguments.text("encoding", encoding)
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a NUL character
        raise CagedError(f"encoding {name!r} is unknown; 'utf-8' is the default") from None
    content = yield from read_bytes(binding, path)
    try:
        return content.decode(name)
    except (UnicodeError, LookupError) as problem:  # LookupError: a codec of bytes, such as "hex"
        where = absolute(path)
        raise CagedPathError(
            f"cannot read {where!r} as {name}: {problem}; read_bytes gives what it is", where
        ) from None


def write(binding: Binding, path: Any, content: Any) -> CallPlan[None]:
    """Write a file: whole, or not at all."""
    checked = yield from written_file(binding, "cannot write", path)
    if isinstance(content, str):
        content = arguments.text("content", content).encode()
    if isinstance(content, (bytes, bytearray, memoryview)):
        content = bytes(content)
        if len(content) + _BYTES_OF_PATH * len(checked.encode()) <= _SENT_IN_SCRIPT:
            name = new_name()
            yield from binding.interruptible(_write_short(binding, checked, content, name), removal(checked, name))
            return
    elif not callable(getattr(content, "read", None)):
        raise CagedError(f"content must be str, bytes or an open file, not {type(content).__name__}")
    yield from write_pieces(binding, checked, content)


def _write_short(binding: Binding, path: str, content: bytes, name: str) -> CallPlan[None]:
    # In base64's other alphabet no text is a path; an emulator without isolation rewrites paths in commands.
    encoded = base64.urlsafe_b64encode(content).decode()
    body = f"{variables(p=path)}{FOLLOW}{CHECK_WRITABLE}{MAKE_PARENTS}t=${{d%/}}/.caged-{name}\n"
    # A shell knows only how the last program of a pipe ended; where another is missing or killed, the file is shorter.
    body += f'printf %s {encoded}|tr -- -_ +/|base64 -d >"$t"||{{ rm -f -- "$t";exit 1;}}\n[ "$(wc -c <"$t")" -eq '
    body += f"{len(content)} ]||{{ rm -f -- \"$t\";refuse 'its content has not arrived whole';}}\n{REPLACE}"
    yield from work_on(binding, "cannot write", path, body)


def write_pieces(
    binding: Binding,
    path: str,
    source: Union[bytes, IO[bytes], IO[str]],
    mode: Optional[int] = None,
    mtime: Optional[int] = None,
    progress: Optional[Callable[[int], object]] = None,
) -> CallPlan[None]:
    """Write a file of any size: a new one beside it, which takes its place at the end.

    Args:
        mode: Permission bits; None means those of the file that is there, or the sandbox's own for new files.
        mtime: Seconds since 1970; None means now.
        progress: Called after each piece with the number of bytes until then.
    """
    name = new_name()
    plan = _write_pieces(binding, path, source, mode, mtime, progress, name)
    return binding.interruptible(plan, removal(path, name))


def _write_pieces(
    binding: Binding,
    path: str,
    source: Union[bytes, IO[bytes], IO[str]],
    mode: Optional[int],
    mtime: Optional[int],
    progress: Optional[Callable[[int], object]],
    name: str,
) -> CallPlan[None]:
    body = f"{variables(p=path)}{FOLLOW}{CHECK_WRITABLE}{MAKE_PARENTS}t=${{d%/}}/.caged-{name}\n"
    body += ': >"$t"||exit 1\nprintf %s "$t"\n'
    temporary = yield from make_place(binding, path, name, body)
    try:
        yield from append(binding, temporary, source, path, progress)
        body = f"{variables(p=path, t=temporary)}{FOLLOW}{CHECK_WRITABLE}"
        if mode is not None:
            body += f"m={mode:o}\n"
        if mtime is not None:
            body += f'touch -d @{mtime} -- "$t"||exit 1\n'
        yield from work_on(binding, "cannot write", path, body + REPLACE)
    except Exception:
        yield from discard(binding, temporary)
        raise


def exists(binding: Binding, path: Any) -> CallPlan[bool]:
    """Whether a path leads to something."""
    checked = absolute(path)
    # The operating system finds nothing where a slash is behind the name of a file.
    named = f"{checked}/" if names_directory(path) else checked
    script = f"if [ -e {shlex.quote(named)} ];then echo yes;else echo no;fi"
    output = yield from binding.execute(f"look for {path}", script)
    return output.strip() == "yes"


def stat(binding: Binding, path: Any, follow_symlinks: Any) -> CallPlan[FileStat]:
    """What is known of a path."""
    checked = absolute(path)
    key = new_name()
    option = " -L" if arguments.boolean("follow_symlinks", follow_symlinks) else ""
    # stat once for its message, then in the form of records.
    body = f"{variables(p=checked, k=key)}{EMIT}{require_directory(path)}"
    body += f"stat{option} -c '' -- \"$p\" >/dev/null||exit 1\n"
    body += f'stat{option} -c "${{k}}S%f %s %Y %u %g %U %G %n" -- "$p"\n' if option else 'emit "$p"\n'
    output = yield from work_on(binding, "cannot stat", checked, body)
    records = parse(output, key)
    if len(records) != 1:
        raise CagedFileNotFoundError(f"cannot stat {checked!r}: it was removed", checked)
    return records[0]


def mkdir(binding: Binding, path: Any, parents: Any, exist_ok: Any) -> CallPlan[None]:
    """Make a directory."""
    checked = absolute_new(path)
    body = variables(p=checked)
    if arguments.boolean("exist_ok", exist_ok):
        body += '[ -d "$p" ]&&exit 0\n'
    if arguments.boolean("parents", parents):
        body += MAKE_PARENTS
    refuse = '{ [ -e "$p" ]||[ -L "$p" ];}&&refuse \'File exists\'\n'
    # Another call may make it meanwhile.
    body += f'mkdir -- "$p"||[ -d "$p" ]||{{ {refuse}exit 1;}}\n' if exist_ok else f'{refuse}mkdir -- "$p"\n'
    yield from work_on(binding, "cannot make the directory", checked, body)


def remove(binding: Binding, path: Any, recursive: Any, missing_ok: Any) -> CallPlan[None]:
    """Remove a file or a directory."""
    checked = absolute(path)
    if checked == "/":
        raise CagedIsADirectoryError("path is '/', which is never removed", checked)
    body = variables(p=checked)
    if arguments.boolean("missing_ok", missing_ok):
        body += '[ -e "$p" ]||[ -L "$p" ]||exit 0\n'
    body += f"stat -c '' -- \"$p\" >/dev/null||exit 1\n{_require_entry(path)}"
    # `rm` refuses them, too, without a reason of the operating system.
    body += "case $p in */.|*/..) refuse 'Invalid argument';; esac\n"
    directory = "rmdir"
    if arguments.boolean("recursive", recursive):
        directory = f"s=$p\n{MOUNTS}{CHECK_MOUNTS}rm -rf"
    body += f'if [ -d "$p" ]&&[ ! -L "$p" ];then {directory} -- "$p";else rm -f -- "$p";fi\n'
    yield from work_on(binding, "cannot remove", checked, body)


def _require_entry(given: Any, variable: str = "p") -> str:
    """As `require_directory`, for what is removed from its directory: a link is no directory itself."""
    if not names_directory(given):
        return ""
    return f"{require_directory(given, variable)}[ -L \"${variable}\" ]&&refuse 'Not a directory'\n"


#: Fails where `$s` cannot take the place of `$p`.
_CHECK_TARGET = """\
stat -c '' -- "$s" >/dev/null||exit 1
c=3
if [ -d "$s" ]&&[ ! -L "$s" ];then
  { [ -e "$p" ]||[ -L "$p" ];}&&refuse 'File exists'
elif [ -d "$p" ];then
  refuse 'Is a directory'
fi
"""


def move(binding: Binding, source: Any, target: Any) -> CallPlan[None]:
    """Rename a file or directory."""
    old = absolute(source, "source")
    new = yield from written_file(binding, "cannot move to", target, "target")
    name = new_name()
    body = f"{variables(s=old, p=new)}{CHECK_OUTSIDE}{_require_entry(source, 's')}{_CHECK_TARGET}c=\n" + (
        'if [ -d "$s" ]&&[ ! -L "$s" ];then r=$(readlink -f -- "$s"&&echo x)||exit 1;check_outside "${r%?x}" moved;fi\n'
        f"c=3\n{MAKE_PARENTS}c=\n"
        f'{MOUNTS}{IS_SAME_MOUNT}if same_mount;then mv -f -- "$s" "$p";exit;fi\n'
        # `mv` removes the old file before it copies the new one.
        f'if [ -d "$s" ]&&[ ! -L "$s" ];then\n{CHECK_MOUNTS}fi\n'
        f"t=${{d%/}}/.caged-{name}\n"
        'cp -a -- "$s" "$t"&&mv -f -- "$t" "$p"||{ rm -rf -- "$t";exit 1;}\n'
        'rm -rf -- "$s"\n'
    )
    yield from binding.interruptible(work_on(binding, "cannot move", old, body, new), removal(new, name, follow=False))


def copy(binding: Binding, source: Any, target: Any) -> CallPlan[None]:
    """Copy a file, or a directory with all that is in it."""
    old = absolute(source, "source")
    new = yield from written_file(binding, "cannot copy to", target, "target")
    name = new_name()
    body = f"{variables(s=old, p=new)}{CHECK_OUTSIDE}{require_directory(source, 's')}" + (
        "stat -L -c '' -- \"$s\" >/dev/null||exit 1\n"
        's=$(readlink -f -- "$s"&&echo x)||exit 1\n'
        "s=${s%?x}\n"
        f"{_CHECK_TARGET}{FOLLOW}"
        'c=;[ ! -d "$s" ]||check_outside "$s" copied\n'
        f"c=3\n{MAKE_PARENTS}"
        f"t=${{d%/}}/.caged-{name}\n"
        "c=\n"
        'if [ -d "$s" ];then\n'
        '  mkdir -- "$t"&&cp -a -- "$s/." "$t/"\n'
        "else\n"
        "  [ -f \"$s\" ]||refuse 'it is a device, a named pipe or a socket'\n"
        '  cp -p -- "$s" "$t"\n'
        'fi&&mv -f -- "$t" "$p"||{ rm -rf -- "$t";exit 1;}\n'
        f"c=3\n{CHECK_REPLACED}"
    )
    yield from binding.interruptible(work_on(binding, "cannot copy", old, body, new), removal(new, name))


@short_tracebacks
class Files(Bound):
    """Files of a bound sandbox.

    A relative path is below ``/workspace``. A path may hold any character but NUL. Wherever a path cannot be used, the
    error is a `CagedPathError`: `CagedFileNotFoundError`, `CagedIsADirectoryError`, `CagedNotADirectoryError`,
    `CagedFileExistsError`, `CagedPermissionError`, each of which also is Python's own error of that name.
    """

    def read_bytes(self, path: SandboxPath) -> bytes:
        """Read a whole file, of any size.

        Args:
            path: A regular file, or a link to one.

        Raises:
            CagedPathError: It cannot be read.
        """
        return self._run(read_bytes(self._binding, path))

    def read_text(self, path: SandboxPath, encoding: str = "utf-8") -> str:
        """Read a whole file as text, line breaks as they are.

        Args:
            path: A regular file, or a link to one.
            encoding: One of Python's names.

        Raises:
            CagedPathError: It cannot be read, or it is not text in this encoding.
            CagedError: The encoding is unknown.
        """
        return self._run(read_text(self._binding, path, encoding))

    def write(self, path: SandboxPath, content: Content) -> None:
        """Write a file, of any size; directories that are missing are made.

        It is written under another name in the same directory and then renamed: what reads the file finds the old
        content or the new one, and a failure leaves the old one. Owner and mode of a file that exists stay.

        Args:
            path: A new file, a regular file, or a link to one; the link stays.
            content: Text, which is written as UTF-8, bytes, or an open file, which is read from where it stands.

        Raises:
            CagedPathError: It cannot be written.
            CagedError: `content` is of another type, or the open file cannot be read.
        """
        self._run(write(self._binding, path, content))

    def exists(self, path: SandboxPath) -> bool:
        """Return whether a path leads to something.

        Args:
            path: An absolute path in the sandbox. A link leads to something if its target exists, and a path with a
                slash at its end if it is a directory.
        """
        return self._run(exists(self._binding, path))

    def stat(self, path: SandboxPath, *, follow_symlinks: bool = True) -> FileStat:
        """Type, size, mode, times and owner of a path.

        Args:
            path: A file or directory.
            follow_symlinks: False describes a symbolic link itself, with its target.

        Raises:
            CagedPathError: There is none, or a directory on the way to it cannot be entered.
        """
        return self._run(stat(self._binding, path, follow_symlinks))

    def list(self, path: SandboxPath = ROOT, *, recursive: bool = False, glob: Optional[str] = None) -> FileStats:
        """The entries of a directory, hidden ones included, sorted by path.

        Args:
            path: The directory.
            recursive: True adds those of all directories below it. Links are not followed.
            glob: Only entries that match: ``*``, ``?`` and ``[...]`` as in `fnmatch`. A pattern without ``/`` is
                compared with the name; one with ``/`` with the path below the directory, where ``**`` stands for any
                number of directories, and makes the list recursive.

        Raises:
            CagedPathError: It is not a directory, or it or one below it cannot be read.
            CagedError: `glob` is not a pattern, or can match nothing.
        """
        return self._run(list_(self._binding, path, recursive, glob))

    def mkdir(self, path: SandboxPath, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory.

        Args:
            path: Its name.
            parents: True makes missing directories above it, too.
            exist_ok: True does nothing when the directory exists.

        Raises:
            CagedFileExistsError: There is something of this name.
            CagedPathError: It cannot be made.
        """
        self._run(mkdir(self._binding, path, parents, exist_ok))

    def remove(self, path: SandboxPath, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove a file, a link or an empty directory.

        Args:
            path: What to remove. Of a link, the target stays.
            recursive: True removes a directory with all that is in it.
            missing_ok: True does nothing when there is nothing.

        Raises:
            CagedDirectoryNotEmptyError: A directory has entries, and `recursive` is False.
            CagedPathError: It cannot be removed.
        """
        self._run(remove(self._binding, path, recursive, missing_ok))

    def move(self, source: SandboxPath, target: SandboxPath) -> None:
        """Rename a file or directory; directories that are missing above the target are made.

        Args:
            source: What to rename.
            target: Its new path. A file of this name is replaced, by a file alone.

        Raises:
            CagedIsADirectoryError, CagedFileExistsError: The target is there, and cannot be replaced.
            CagedPathError: It cannot be renamed.
        """
        self._run(move(self._binding, source, target))

    def copy(self, source: SandboxPath, target: SandboxPath) -> None:
        """Copy a file, or a directory with all that is in it, with modes, times and links.

        Args:
            source: What to copy.
            target: The path of the copy. A file of this name is replaced, by a file alone. Directories that are
                missing above it are made.

        Raises:
            CagedIsADirectoryError, CagedFileExistsError: The target is there, and cannot be replaced.
            CagedPathError: It cannot be copied.
        """
        self._run(copy(self._binding, source, target))


@short_tracebacks
class AsyncFiles(AsyncBound):
    """Files of a bound sandbox; every method is described in `Files`."""

    async def read_bytes(self, path: SandboxPath) -> bytes:
        """See `Files.read_bytes`."""
        return await self._run(read_bytes(self._binding, path))

    async def read_text(self, path: SandboxPath, encoding: str = "utf-8") -> str:
        """See `Files.read_text`."""
        return await self._run(read_text(self._binding, path, encoding))

    async def write(self, path: SandboxPath, content: Content) -> None:
        """See `Files.write`."""
        await self._run(write(self._binding, path, content))

    async def exists(self, path: SandboxPath) -> bool:
        """See `Files.exists`."""
        return await self._run(exists(self._binding, path))

    async def stat(self, path: SandboxPath, *, follow_symlinks: bool = True) -> FileStat:
        """See `Files.stat`."""
        return await self._run(stat(self._binding, path, follow_symlinks))

    async def list(self, path: SandboxPath = ROOT, *, recursive: bool = False, glob: Optional[str] = None) -> FileStats:
        """See `Files.list`."""
        return await self._run(list_(self._binding, path, recursive, glob))

    async def mkdir(self, path: SandboxPath, *, parents: bool = False, exist_ok: bool = False) -> None:
        """See `Files.mkdir`."""
        await self._run(mkdir(self._binding, path, parents, exist_ok))

    async def remove(self, path: SandboxPath, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """See `Files.remove`."""
        await self._run(remove(self._binding, path, recursive, missing_ok))

    async def move(self, source: SandboxPath, target: SandboxPath) -> None:
        """See `Files.move`."""
        await self._run(move(self._binding, source, target))

    async def copy(self, source: SandboxPath, target: SandboxPath) -> None:
        """See `Files.copy`."""
        await self._run(copy(self._binding, source, target))
