"""Files and directories between this machine and a bound sandbox."""

from __future__ import annotations

import inspect
import os
import shlex
import stat
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Optional, Union

from .. import _arguments as arguments
from .._core import CallPlan, locally
from .._errors import CagedError, CagedPathError
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound, new_name
from .file_stat import FileStat
from .files import first_piece, next_piece, write_pieces
from .files import stat as stat_of
from .globs import ignoring
from .local_target import StagedDirectory, staged_file
from .local_tree import KEPT_MODE, LocalEntry, Part, entries, parts, size_of
from .path_scripts import MAKE_PARENTS, removal, variables, work_on, written_file
from .paths import SandboxPath, absolute, absolute_new, path_error
from .pieces import PIECE, discard, make_place, send
from .remote_tree import RemoteTree, batches, fetch_batch, is_fetched_alone, tree
from .scratch import MAKE_SCRATCH

LocalPath = Union[str, "os.PathLike[str]"]
#: Called with the bytes of files that were transferred, and with those of all files.
Progress = Callable[[int, int], object]


def upload(binding: Binding, local: Any, remote: Any, ignore: Any, progress: Any) -> CallPlan[None]:
    """Copy a file or directory of this machine into the sandbox."""
    source, patterns, report = _checked(local, ignore, progress)
    status = yield from locally(lambda: os.stat(source))
    if stat.S_ISDIR(status.st_mode):
        yield from _upload_directory(binding, source, absolute_new(remote, "remote"), patterns, report)
    elif stat.S_ISREG(status.st_mode):
        target = yield from written_file(binding, "cannot write", remote, "remote")
        yield from _upload_file(binding, source, target, status, report)
    else:
        raise CagedError(f"{source!r} is neither a file nor a directory")


def _upload_file(
    binding: Binding, source: str, target: str, status: os.stat_result, report: Progress
) -> CallPlan[None]:
    file = yield from locally(lambda: open(source, "rb"))  # noqa: SIM115 (closed below)
    with file:
        size = status.st_size
        mode = status.st_mode & KEPT_MODE
        yield from write_pieces(binding, target, file, mode, int(status.st_mtime), lambda done: report(done, size))


# `$t` is the staging directory: inside `$p` if that is a directory, on which a file system may be mounted, else beside
# it, because a rename cannot cross file systems.
_PREPARE = """\
if [ -d "$p" ];then
  [ -w "$p" ]&&[ -x "$p" ]||refuse 'Permission denied'
  d=$p
else
  { [ -e "$p" ]||[ -L "$p" ];}&&refuse 'Not a directory'
"""
_PREPARED = """\
fi
t=${d%/}/.caged-$n
mkdir -m 700 -- "$t"||exit 1
printf %s "$t"
"""
# What is in `$t` moves into `$p`, where that is a directory. `check` is the first pass: nothing is moved where a
# directory would replace a file, or a file a directory. A link to a directory is replaced like a file.
_JOIN = """\
if [ ! -d "$p" ];then
  mv -- "$t" "$p"||exit 1
  t=$p/${t##*/}
  # Another call may have made the directory meanwhile.
  [ -d "$t" ]||exit 0
fi
c=4
for pass in check go;do
  q0=;i=0;n=1
  while [ $i -lt $n ];do
    eval "r=\\$q$i;unset q$i";i=$((i+1))
    set --
    for e in "$t$r"/* "$t$r"/.[!.]* "$t$r"/..?*;do
      [ -e "$e" ]||[ -L "$e" ]||continue
      b=$r/${e##*/}
      if [ -d "$e" ]&&[ ! -L "$e" ];then
        if [ -d "$p$b" ];then eval "q$n=\\$b";n=$((n+1));continue;fi
        { [ -e "$p$b" ]||[ -L "$p$b" ];}&&refuse "$p$b: Not a directory"
      else
        [ -d "$p$b" ]&&[ ! -L "$p$b" ]&&refuse "$p$b: Is a directory"
      fi
      [ $pass = go ]||continue
      set -- "$@" "$e"
      if [ $# -ge 100 ];then mv -f -- "$@" "$p$r/"||exit 1;set --;fi
    done
    [ $# = 0 ]||mv -f -- "$@" "$p$r/"||exit 1
  done
done
rm -rf -- "$t"
"""


def _upload_directory(
    binding: Binding, source: str, target: str, patterns: Sequence[str], report: Progress
) -> CallPlan[None]:
    found = yield from locally(lambda: entries(source, ignoring(patterns)))
    name = new_name()
    yield from binding.interruptible(_upload(binding, source, target, found, report, name), removal(target, name))


def _upload(
    binding: Binding, source: str, target: str, found: Sequence[LocalEntry], report: Progress, name: str
) -> CallPlan[None]:
    total, done = size_of(found), 0
    body = f"{variables(p=target, n=name)}{_PREPARE}{MAKE_PARENTS}{_PREPARED}"
    staging = yield from make_place(binding, target, name, body)
    try:
        yield from binding.execute("prepare", MAKE_SCRATCH)
        sent = parts(source, found)
        while True:
            part = yield from locally(lambda: next(sent, None))
            if part is None:
                break
            yield from send(binding, part.content, _sink(part, staging), target)
            done += part.size
            report(done, total)
        yield from work_on(binding, "cannot write", target, f"{variables(p=target, t=staging)}{_JOIN}")
    except Exception:
        yield from discard(binding, staging)
        raise


def _sink(part: Part, staging: str) -> str:
    """The script that reads a part in base64."""
    if part.file is None:
        # A shell knows only how the last program of a pipe ended, and an archive that ends early may look whole.
        return (
            "unset TAR_OPTIONS;f=$({ { base64 -d||echo base64 >&4;}|"
            f"tar -xopf - -C {shlex.quote(staging)} 4>&-||echo tar >&4;}} 4>&1 >&2)\n"
            "case $f in base64) refuse 'base64 failed';; ?*) exit 1;; esac\n"
        )
    path = shlex.quote(f"{staging}/{part.file.path}")
    script = f'f={path};mkdir -p -- "${{f%/*}}"&&base64 -d >>"$f"'
    if part.last:
        status = part.file.status
        script += f'&&chmod {status.st_mode & KEPT_MODE:o} "$f"&&touch -d @{int(status.st_mtime)} "$f"'
    return script


def download(binding: Binding, remote: Any, local: Any, ignore: Any, progress: Any) -> CallPlan[None]:
    """Copy a file or directory of the sandbox to this machine."""
    target, patterns, report = _checked(local, ignore, progress)
    path = absolute(remote, "remote")
    known = yield from stat_of(binding, remote, True)
    if known.is_dir:
        yield from _download_directory(binding, path, known, target, patterns, report)
    elif known.is_file:
        yield from _download_file(binding, known, target, report)
    else:
        raise path_error("cannot download", path, "it is a device, a named pipe or a socket")


def _download_file(binding: Binding, known: FileStat, target: str, report: Progress) -> CallPlan[None]:
    with staged_file(target, known.mode, known.mtime.timestamp()) as file:
        yield from _fetch_alone(binding, known, file, report)


def _fetch_alone(binding: Binding, known: FileStat, file: BinaryIO, progress: Progress) -> CallPlan[None]:
    """Write a file of the sandbox to a local one: one of several pieces as long as it was when it was looked at."""
    done = 0
    size, piece = yield from first_piece(binding, known.path)
    if max(size, known.size) <= PIECE:
        # It is whole, whatever its size is said to be: that of a file of /proc is 0.
        yield from locally(lambda: file.write(piece))
        progress(len(piece), len(piece))
        return
    while True:
        content = piece[: known.size - done]
        yield from locally(lambda content=content: file.write(content))  # type: ignore[misc]
        done += len(content)
        progress(done, known.size)
        if done >= known.size:
            return
        if len(piece) < PIECE:
            raise CagedPathError(f"{known.path!r} became shorter while it was downloaded", known.path)
        piece = yield from next_piece(binding, known.path, done // PIECE)


def _download_directory(
    binding: Binding, path: str, known: FileStat, target: str, patterns: Sequence[str], report: Progress
) -> CallPlan[None]:
    made = yield from tree(binding, path, patterns)
    made.top = known
    done, total = 0, made.size
    with StagedDirectory(target, made) as staged:
        for batch in batches(made.files):
            yield from _fetch(binding, made, batch, staged, lambda size, before=done: report(before + size, total))  # type: ignore[misc]
            done += sum(made.files[name].size for name in batch)
        if not made.files:
            report(0, 0)
        yield from locally(staged.complete)


def _fetch(
    binding: Binding, made: RemoteTree, batch: Sequence[str], staged: StagedDirectory, progress: Callable[[int], object]
) -> CallPlan[None]:
    contents = None if is_fetched_alone(made.files[batch[0]]) else (yield from fetch_batch(binding, made, batch))
    if contents is not None:
        found = contents

        def keep() -> None:
            for name, content in found.items():
                staged.add(name, content)

        yield from locally(keep)
        progress(sum(made.files[name].size for name in batch))
        return
    before = 0
    for name in batch:
        known = made.files[name]
        with staged.open(name) as file:
            yield from _fetch_alone(binding, known, file, _part_of(progress, before, known.size))
        staged.finish(name)
        before += known.size


def _part_of(progress: Callable[[int], object], before: int, size: int) -> Progress:
    """The progress of one file of several, by its size in the list, which need not be that of its content."""
    return lambda done, total: progress(before + (size if done == total else done))


def _checked(local: Any, ignore: Any, progress: Any) -> tuple[str, list[str], Progress]:
    try:
        path = os.fspath(local)
    except TypeError:
        raise CagedError(f"local must be a path, not {type(local).__name__}") from None
    if not isinstance(path, str) or not path or "\0" in path:
        raise CagedError("local must be a path as str, not empty and without NUL characters")
    if progress is not None and not callable(progress):
        raise CagedError(f"progress must be a function of two numbers, not {type(progress).__name__}")
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(getattr(progress, "__call__", None)):  # noqa: B004
        raise CagedError("progress must be a function, not a coroutine function: nothing awaits it")
    return path, arguments.texts("ignore", ignore), progress or (lambda done, total: None)


@short_tracebacks
class Transfers(Bound):
    """Files and directories between this machine and a bound sandbox."""

    def upload(
        self,
        local: LocalPath,
        remote: SandboxPath,
        *,
        ignore: Sequence[str] = (),
        progress: Optional[Progress] = None,
    ) -> None:
        """Copy a file or directory into the sandbox, with modes, times and links.

        What is new gets its name when all of it has arrived, so a failure leaves no half file. Directories that are
        missing above it are made. Sockets, pipes and devices are left out.

        Args:
            local: A file or directory of this machine. A link is followed; links in a directory stay links.
            remote: The path of the copy. A file of this name is replaced. A directory keeps what it has besides; where
                it has a file in place of a directory, or the reverse, nothing is changed.
            ignore: Patterns, as `glob` of `list`; a directory that matches is left out with all that is in it.
            progress: Called after each piece with two numbers: bytes of files that have arrived, and of all files.

        Raises:
            OSError: A local file cannot be read.
            CagedPathError: The sandbox's path cannot be written, or not all has arrived.
            CagedError: A local file became shorter meanwhile, or has a name that is not UTF-8.
        """
        self._run(upload(self._binding, local, remote, ignore, progress))

    def download(
        self,
        remote: SandboxPath,
        local: LocalPath,
        *,
        ignore: Sequence[str] = (),
        progress: Optional[Progress] = None,
    ) -> None:
        """Copy a file or directory of the sandbox to this machine, with modes, times and links.

        Nothing is written outside the target, whatever the sandbox holds. What is new gets its name when all of it
        has arrived, so a failure leaves no half file. Directories that are missing above it are made. Sockets, pipes
        and devices are left out; set-user-ID and the like is not kept, and hard links become separate files. Of a
        large file that grows meanwhile, the beginning is copied.

        Args:
            remote: A file or directory. A link is followed; links in a directory stay links.
            local: The path of the copy. A file of this name is replaced. A directory keeps what it has besides; where
                it has a file or a link in place of a directory, or the reverse, nothing is changed.
            ignore: Patterns, as `glob` of `list`; a directory that matches is left out with all that is in it.
            progress: Called after each piece with two numbers: bytes of files that have arrived, and of all files.

        Raises:
            CagedPathError: It cannot be read, became shorter meanwhile, or has a link that leads out of the directory
                or a name that is not UTF-8.
            OSError: The local path cannot be written.
        """
        self._run(download(self._binding, remote, local, ignore, progress))


@short_tracebacks
class AsyncTransfers(AsyncBound):
    """Files and directories between this machine and a bound sandbox; every method is described in `Transfers`."""

    async def upload(
        self,
        local: LocalPath,
        remote: SandboxPath,
        *,
        ignore: Sequence[str] = (),
        progress: Optional[Progress] = None,
    ) -> None:
        """See `Transfers.upload`."""
        await self._run(upload(self._binding, local, remote, ignore, progress))

    async def download(
        self,
        remote: SandboxPath,
        local: LocalPath,
        *,
        ignore: Sequence[str] = (),
        progress: Optional[Progress] = None,
    ) -> None:
        """See `Transfers.download`."""
        await self._run(download(self._binding, remote, local, ignore, progress))
