"""Files and git of a running sandbox."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Optional

from ..cage import git
from ..cage.cage import Cage
from ..cage.init_client import SandboxGone
from ..cage.safe_files import Entry
from ..control.clock import Clock
from ..store import AccountRecord
from . import limits
from .errors import ApiError, not_running
from .file_writes import OUTSIDE, FileWrites, check_path, file_errors, missing
from .live_sandboxes import LiveSandboxes
from .observation import is_observing
from .recorder import SandboxRecorder
from .sandboxes import Sandboxes

#: Seconds for a look inside the sandbox whether a path exists.
_LOOK_SECONDS = 5.0


@asynccontextmanager
async def _missing_is_404(cage: Cage, path: str) -> AsyncIterator[None]:
    """Answer a path outside the sandbox's files with 404 when a command in the sandbox does not find it either."""
    try:
        yield
    except ApiError as error:
        if error.code == OUTSIDE:
            plain = posixpath.normpath(path) if ".." in path else path
            with suppress(SandboxGone):
                look = await cage.shell(f"test -e {shlex.quote(plain)}", {}, seconds=_LOOK_SECONDS)
                if look.code == 1:
                    raise missing(path) from None
        raise


class Files:
    """The file operations of the API. Each is recorded as an event when it has succeeded, unless it only shows
    something to a person."""

    def __init__(
        self, clock: Clock, live: LiveSandboxes, sandboxes: Sandboxes, writes: FileWrites, recorder: SandboxRecorder
    ) -> None:
        self._clock = clock
        self._live = live
        self._sandboxes = sandboxes
        self._writes = writes
        self._recorder = recorder

    @contextmanager
    def _operation(self, account: AccountRecord, sandbox_id: str, operation: str, path: str) -> Iterator[None]:
        """Record the operation when it has succeeded. 404 when the sandbox was destroyed meanwhile."""
        start = self._clock.stopwatch()
        with file_errors(path):
            yield
        sandbox = self._sandboxes.get(account, sandbox_id)
        if not is_observing():
            self._writes.record(sandbox, operation, path, start)

    async def entries(self, account: AccountRecord, sandbox_id: str, path: str) -> list[Entry]:
        """The entries of a directory, sorted by name, hidden files included."""
        check_path(path)
        async with self._sandboxes.use_cage(account, sandbox_id) as cage, _missing_is_404(cage, path):
            with self._operation(account, sandbox_id, "list", path):
                return await cage.listing(path)

    async def read(self, account: AccountRecord, sandbox_id: str, path: str) -> bytes:
        """The content of a file. 400 when it is larger than `limits.READ_BYTES`."""
        check_path(path)
        async with self._sandboxes.use_cage(account, sandbox_id) as cage, _missing_is_404(cage, path):
            with self._operation(account, sandbox_id, "read", path):
                content = await cage.read(path, limits.READ_BYTES)
                if len(content) > limits.READ_BYTES:
                    raise ApiError(400, f"{path} is larger than 1 MiB; read it in parts with exec", "file_too_large")
                return content

    async def read_piece(self, account: AccountRecord, sandbox_id: str, path: str, offset: int) -> bytes:
        """A piece of a file to show or save: at most `limits.READ_BYTES`, less at its end. It leaves no event."""
        check_path(path)
        async with self._sandboxes.use_cage(account, sandbox_id) as cage, _missing_is_404(cage, path):
            with file_errors(path):
                return (await cage.read(path, limits.READ_BYTES - 1, offset))[: limits.READ_BYTES]

    async def write(self, account: AccountRecord, sandbox_id: str, path: str, content: str) -> None:
        check_path(path)
        async with self._sandboxes.use_cage(account, sandbox_id) as cage:
            sandbox = self._sandboxes.get(account, sandbox_id)
            async with self._live.of(sandbox).workspace_lock:
                if sandbox.status != "running":
                    raise not_running(sandbox_id, sandbox.status)
                with self._operation(account, sandbox_id, "write", path):
                    await cage.write(path, content.encode("utf-8"))

    async def diff(self, account: AccountRecord, sandbox_id: str, path: str) -> git.Diff:
        """The changes at `path`; empty, with a line in the sandbox's log, when it is in no repository. 409 when git
        takes too long, 400 when its output is too large."""
        check_path(path)
        async with self._sandboxes.use_cage(account, sandbox_id) as cage:
            found = await self._git_diff(cage, sandbox_id, path)
        if found is None:
            sandbox = self._sandboxes.get(account, sandbox_id)
            self._recorder.log(sandbox, f"git diff: {path} is not in a git repository", "git")
            return git.Diff()
        return found

    async def _git_diff(self, cage: Cage, sandbox_id: str, path: str) -> Optional[git.Diff]:
        try:
            async with _missing_is_404(cage, path):
                with file_errors(path):
                    return await git.diff(cage, path)
        except SandboxGone:
            raise not_running(sandbox_id, "gone") from None
        except git.DiffTimeout:
            raise ApiError(
                409,
                f"git diff of {path} took longer than {git.DIFF_SECONDS:g} s and was stopped; pass the path of a"
                " smaller directory, or run git with exec",
            ) from None
        except git.DiffTooLarge as error:
            raise ApiError(
                400,
                f"git diff of {path}: the {error} is larger than {git.DIFF_BYTES // 1024**2} MiB; pass the path of"
                " a smaller directory, or run git with exec",
                "file_too_large",
            ) from None
