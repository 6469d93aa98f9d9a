"""A directory of a sandbox as what is fetched of it, checked: what a sandbox says is not trusted."""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from .._core import CallPlan
from .._errors import CagedError, CagedFileNotFoundError, CagedPathError
from .binding import Binding, decode_base64
from .directory_listing import SKIP_NOTHING, records
from .file_stat import FileStat
from .globs import ignoring
from .path_scripts import variables, work_on
from .pieces import PIECE

# Bytes of names in one script, which is an argument of a program: 128 KiB at most on Linux.
_NAMES = 64 * 1024


@dataclass
class RemoteTree:
    """The entries of a directory, by their paths below it, each once.

    Attributes:
        top: The directory itself; None where its mode and time do not matter.
        links: Paths and targets. No target leads out of the directory.
    """

    root: str
    top: Optional[FileStat] = None
    directories: dict[str, FileStat] = field(default_factory=dict)
    files: dict[str, FileStat] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def tree(binding: Binding, root: str, ignore: Sequence[str]) -> CallPlan[RemoteTree]:
    """List a directory. Sockets, pipes and devices are left out.

    Raises:
        CagedPathError: It cannot be listed, or a link leads out of it.
    """
    found = yield from records(binding, root, True, _skip(ignore))
    ignored = ignoring(ignore)
    made = RemoteTree(root)
    prefix = root.rstrip("/") + "/"
    for entry in found:
        path = _below(prefix, entry)
        if ignored(path):
            continue
        if "\ufffd" in path or "\ufffd" in (entry.target or ""):
            raise CagedPathError(
                f"cannot download {entry.path!r}: its name, or the target of the link, is not UTF-8; leave it out with "
                "ignore",
                entry.path,
            )
        if path in made.directories or path in made.files or path in made.links:
            raise CagedError(
                f"the sandbox lists {entry.path!r} twice; `stat` or `find` in the sandbox may have been replaced"
            )
        if entry.is_dir:
            made.directories[path] = entry
        elif entry.is_file:
            made.files[path] = entry
        elif entry.is_symlink:
            made.links[path] = _link(root, path, entry)
    _check(made)
    return made


def _skip(ignore: Sequence[str]) -> str:
    """Patterns of names for the shell, so that large directories are not listed in vain. All are checked here again."""
    simple = [pattern for pattern in ignore if pattern and not set(pattern) & set("/[]\\")]
    if not simple:
        return SKIP_NOTHING
    cases = "|".join("".join(c if c in "*?" else shlex.quote(c) for c in pattern) for pattern in simple)
    return f'skip() {{ case "$1" in {cases}) return 0;; esac;return 1;}}\n'


def _below(prefix: str, entry: FileStat) -> str:
    path = entry.path.removeprefix(prefix)
    parts = path.split("/")
    if not entry.path.startswith(prefix) or set(parts) & {"", ".", ".."} or "\0" in path:
        raise CagedPathError(f"the sandbox lists {entry.path!r}, which is not below {prefix!r}", entry.path)
    return path


def _link(root: str, path: str, entry: FileStat) -> str:
    """The target of a link, relative; that of one whose target is below the directory as an absolute path, too."""
    target = entry.target or ""
    inside = root.rstrip("/") + "/"
    parts = target.split("/")
    upwards = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    # `..` behind a name is not that name's directory where the name is a link's.
    if target and "\0" not in target and ".." not in parts[upwards:]:
        if f"{target}/".startswith(inside):
            return posixpath.relpath(target, posixpath.dirname(inside + path))
        if not target.startswith("/") and upwards <= path.count("/"):
            return target
    raise CagedPathError(
        f"cannot download the link {entry.path!r}: {target!r} leads out of {root!r}, or may; leave it out with ignore",
        entry.path,
    )


def _check(made: RemoteTree) -> None:
    """Refuse a list that no directory has: what is in a directory that is not listed."""
    for path in (*made.directories, *made.files, *made.links):
        above = posixpath.dirname(path)
        if above and above not in made.directories:
            raise CagedPathError(f"the sandbox lists {path!r}, and not the directory that it is in", path)


def is_fetched_alone(file: FileStat) -> bool:
    """Whether a file is read without tar: a large one, or one whose name GNU's tar would take for an escape."""
    return file.size > PIECE or "\\" in file.path


def batches(files: dict[str, FileStat]) -> Iterator[list[str]]:
    """Files that are fetched at once."""
    batch: list[str] = []
    size = length = 0
    for path, file in files.items():
        if is_fetched_alone(file):
            yield [path]
            continue
        quoted = len(shlex.quote(f"./{path}").encode()) + 1
        padded = file.size + 2048 + 2 * len(path.encode())
        if batch and (size + padded > PIECE or length + quoted > _NAMES):
            yield batch
            batch, size, length = [], 0, 0
        batch.append(path)
        size, length = size + padded, length + quoted
    if batch:
        yield batch


# Files without a size come first: those of /proc have contents nevertheless. Those of /sys have less than their size,
# as has one that is cut off meanwhile; GNU's tar fills it up with zeros, and busybox's gives up.
_CHECK_TAR = "command -v tar >/dev/null||refuse 'tar, which reads directories, is not installed in the sandbox'\n"
_CHECK_EMPTY = '[ -z "$(cat -- "$@" 2>/dev/null|head -c 1|base64)" ]||{ printf \'\\n@alone\';exit 0;}\n'
# What else tar says of a single file is found out below: it is missing in the archive.
_ARCHIVE = f"""\
exec 5>&1
m=$({{ tar -cf - --no-recursion -- "$@" 2>&4 4>&- 5>&-|head -c {2 * PIECE} 4>&- 5>&-|base64 >&5 4>&- 5>&-;}} 4>&1)
case $m in *'shrank by'*|*'short read'*) printf '\\n@alone';; *) printf '\\n@whole';; esac
"""


def fetch_batch(binding: Binding, made: RemoteTree, batch: Sequence[str]) -> CallPlan[Optional[dict[str, bytes]]]:
    """The contents of some files; None where each has to be read alone, because its size is not that of its content.

    Raises:
        CagedPathError: One of them cannot be read, or is not there any more.
    """
    empty = [path for path in batch if not made.files[path].size]
    body = f'{variables(p=made.root)}cd -- "$p"||exit 1\nunset TAR_OPTIONS\n{_CHECK_TAR}'
    body += f"set -- {_quoted(empty)}\n{_CHECK_EMPTY if empty else ''}"
    body += f'set -- "$@" {_quoted([path for path in batch if made.files[path].size])}\n{_ARCHIVE}'
    output = yield from work_on(binding, "cannot read", made.root, body)
    encoded, _, ending = output.rpartition("\n@")
    if ending.strip() == "alone":
        return None
    contents = _contents(decode_base64(binding, encoded))
    for path in batch:
        if path not in contents:
            where = made.files[path].path
            raise CagedFileNotFoundError(f"cannot read {where!r}: it was removed, changed, or may not be read", where)
    return {path: contents[path] for path in batch}


def _quoted(paths: Sequence[str]) -> str:
    return " ".join(shlex.quote(f"./{path}") for path in paths)


def _contents(archive: bytes) -> dict[str, bytes]:
    """The regular files of an archive. Whatever else is in it is not used."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as reader:
            for member in reader:
                if member.sparse is None and (member.isreg() or member.islnk()):
                    file = reader.extractfile(member)
                    content = b"" if file is None else file.read(len(archive))
                    if member.islnk() or len(content) == member.size:
                        found[member.name.removeprefix("./")] = content
    # It reads what a sandbox has made; its own errors are not the only ones that this leads to.
    except Exception:
        return found
    return found
