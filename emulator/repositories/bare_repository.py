"""A bare repository on disk: making it, and reading what is in it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional, Union

from ..control.names import suggestion
from ..control.records import CommitRecord
from .git_process import GitError, GitProcesses

#: Author and time of the one commit of a repository that is made of files, so that the same files have the same id.
AUTHOR = "Caged Emulator <emulator@caged.invalid>"
COMMITTED_AT = 946684800  # 2000-01-01T00:00:00Z
FIRST_MESSAGE = "Initial commit"
#: Bytes on disk of a repository; no more can be pushed.
MOST_BYTES = 256 * 1024**2
#: Branches and tags of a repository, and how many of them one push may change.
MOST_REFS, MOST_PUSHED_REFS = 2000, 1000
_COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FIELDS = "%H%x1f%an%x1f%ae%x1f%aI%x1f%P%x1f%B"


class UnknownNameError(LookupError):
    """A branch, file or commit does not exist; the text lists those that do."""

    def __str__(self) -> str:
        return str(self.args[0])


class BareRepository:
    """One repository. Its methods raise GitError when git fails.

    Args:
        path: Its directory.
        name: What it is called in error texts.
        git: Runs the processes.
    """

    def __init__(self, path: Path, name: str, git: GitProcesses) -> None:
        self.path = path
        self._name = name
        self._git = git

    async def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return await self._git.run(["--git-dir", str(self.path), *arguments], stdin)

    # --- making

    async def make_of_files(self, files: Mapping[str, Union[str, bytes]], branch: str) -> None:
        """Make it, with one commit; without files, without a commit."""
        await self._initialize(branch)
        if files:
            await self._run("fast-import", "--quiet", stdin=b"".join(_fast_import(files, branch)))

    async def make_of_bundle(self, bundle: bytes, branch: Optional[str]) -> str:
        """Make it of a git bundle, and return the branch that a clone checks out.

        Raises:
            UnknownNameError: The bundle has no such branch.
        """
        await self._initialize(branch or "main")
        file = self.path / "source.bundle"
        file.write_bytes(bundle)
        try:
            refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            listed = (await self._run("bundle", "list-heads", str(file))).decode("utf-8", "replace").splitlines()
            names = [line.partition(" ")[2] for line in listed]
            if "HEAD" in names and not any(name.startswith("refs/heads/") for name in names):
                refs.append(f"+HEAD:refs/heads/{branch or 'main'}")  # of a repository where no branch is checked out
            await self._run("fetch", "--quiet", "--no-tags", str(file), *refs)
        finally:
            file.unlink()
        branches = await self.branches()
        if branch is None:
            branch = next((name for name in ("main", "master", *branches) if name in branches), "main")
            await self._run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        elif branch not in branches:
            raise UnknownNameError(f"branch: {self._missing(branch, branches)}")
        return branch

    async def _initialize(self, branch: str) -> None:
        await self._git.run(["init", "--quiet", "--bare", "--template=", str(self.path)])
        await self._run("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    # --- reading

    async def branches(self) -> dict[str, str]:
        """The branches by name, with the ids of their commits."""
        return await self.refs("refs/heads/")

    async def tags(self) -> dict[str, str]:
        """The tags by name, with the ids of what they name."""
        return await self.refs("refs/tags/")

    async def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """The names below a prefix, without it, with the ids of what they name."""
        output = await self._run("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        lines = [line.partition(" ") for line in output.decode("utf-8", "replace").splitlines()]
        return {name[len(prefix) :]: found for found, _, name in lines}

    async def commits(self, revision: Optional[str], last: int) -> list[CommitRecord]:
        """The newest commits of a branch, tag or commit, newest first; of the default branch for None.

        Raises:
            UnknownNameError: There is no such branch, tag or commit.
        """
        found = await self._resolve(revision)
        if found is None:
            return []
        output = await self._run("log", "-z", f"--max-count={last}", f"--format={_FIELDS}", found, "--")
        return [_commit(text) for text in output.decode("utf-8", "replace").split("\0") if text]

    async def files(self, revision: Optional[str]) -> list[str]:
        """The paths of all files, sorted. Raises as `commits`."""
        found = await self._resolve(revision)
        if found is None:
            return []
        output = await self._run("ls-tree", "-r", "-z", "--name-only", "--full-tree", found)
        return output.decode("utf-8", "replace").rstrip("\0").split("\0") if output else []

    async def file(self, path: str, revision: Optional[str]) -> bytes:
        """The content of a file; of a symbolic link, its target.

        Raises:
            UnknownNameError: There is no such file; otherwise as `commits`.
        """
        found = await self._resolve(revision)
        paths = await self.files(revision)
        if found is None or path not in paths:
            where = revision or await self._default()
            listed = suggestion(path, paths) or "; it has no files"
            raise UnknownNameError(f"{self._name} has no file {path!r} on {where}{listed}")
        return await self._run("cat-file", "blob", f"{found}:{path}")

    async def _default(self) -> str:
        return (await self._run("symbolic-ref", "--short", "HEAD")).decode().strip()

    async def _resolve(self, revision: Optional[str]) -> Optional[str]:
        """The full name of a branch, tag or commit; None for the default branch of an empty repository."""
        branches = await self.branches()
        name = await self._default() if revision is None else revision
        if name in branches:
            return f"refs/heads/{name}"
        if revision is None and not branches:
            return None
        if name in await self.tags():
            return f"refs/tags/{name}"
        if _COMMIT_ID.fullmatch(name):
            try:
                await self._run("cat-file", "-e", f"{name}^{{commit}}")
                return name
            except GitError:
                pass
        raise UnknownNameError(self._missing(name, branches))

    def _missing(self, branch: str, branches: Mapping[str, str]) -> str:
        listed = f"; its branches are {', '.join(sorted(branches)[:20])}" if branches else "; it has no branches"
        return f"{self._name} has no branch {branch!r}{listed}"

    def size(self) -> int:
        """Bytes of its files. What another push removes meanwhile does not count. Blocks."""
        return sum(_file_size(os.path.join(folder, name)) for folder, _, names in os.walk(self.path) for name in names)


def _file_size(path: str) -> int:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _commit(text: str) -> CommitRecord:
    commit, author, email, at, parents, message = text.split("\x1f", 5)
    return CommitRecord(commit, author, email, at, parents.split(), message.rstrip("\n"))


def _fast_import(files: Mapping[str, Union[str, bytes]], branch: str) -> Iterator[bytes]:
    """The stream for git-fast-import. A file that begins with #! is executable."""
    message = FIRST_MESSAGE.encode()
    yield f"commit refs/heads/{branch}\ncommitter {AUTHOR} {COMMITTED_AT} +0000\n".encode()
    yield b"data %d\n%s\n" % (len(message), message)
    for path, content in sorted(files.items()):
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        mode = b"100755" if data.startswith(b"#!") else b"100644"
        yield b"M %s inline %s\ndata %d\n%s\n" % (mode, _quoted(path), len(data), data)
    yield b"done\n"


def _quoted(path: str) -> bytes:
    escapes = {ord('"'): b'\\"', ord("\\"): b"\\\\", ord("\n"): b"\\n"}
    return b'"%s"' % b"".join(escapes.get(byte, bytes([byte])) for byte in path.encode("utf-8", "surrogateescape"))
