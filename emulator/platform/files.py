"""Files and git of a running sandbox."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..cage import git
from ..cage.paths import WORKSPACE
from ..cage.process import Gone
from ..cage.tree import Entry, Outside
from ..store import Account, Sandbox
from . import limits
from .refusal import Refusal, invalid, not_running
from .services import Services

if TYPE_CHECKING:
    from .sandboxes import Sandboxes


@contextmanager
def _as_refusal(path: str) -> Iterator[None]:
    """The kernel's errors, and a path that leads out, as the platform's refusals."""
    try:
        yield
    except Outside:
        raise Refusal(
            403, f"{path} is outside the sandbox's files (/workspace, /root, /tmp)", "policy_denied"
        ) from None
    except FileNotFoundError:
        raise Refusal(404, f"no such file or directory: {path}") from None
    except IsADirectoryError:
        raise invalid(f"{path} is a directory") from None
    except NotADirectoryError:
        raise invalid(f"{path}: not a directory, or a part of it is not") from None
    except PermissionError:
        raise Refusal(403, f"permission denied: {path}", "policy_denied") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Refusal(507, f"no space left for {path}") from None
        raise invalid(f"{path}: {error.strerror}") from None


async def place(services: Services, sandbox: Sandbox, path: str, content: str) -> None:
    """Writes a file of a sandbox that runs or is being built, as what is in it would. Raises Refusal."""
    check_path(path)
    start = services.clock.stopwatch()
    async with sandbox.disk:
        if sandbox.status not in ("pending", "running") or sandbox.cage is None:
            raise not_running(sandbox.id, sandbox.status)
        with _as_refusal(path):
            await sandbox.cage.write(path, content.encode("utf-8", "replace"))
    wrote(services, sandbox, "write", path, start)


def wrote(services: Services, sandbox: Sandbox, operation: str, path: str, start: float) -> None:
    """An event of something that was done to a file since `start` of the stopwatch."""
    data = {"operation": operation, "path": posixpath.normpath(posixpath.join(WORKSPACE, path))}
    services.record(sandbox, "file_op", data, (services.clock.stopwatch() - start) * 1000)


def check_path(path: str) -> str:
    if not path:
        raise invalid("missing path parameter")
    if "\0" in path:
        raise invalid("path must not contain a NUL character")
    return path


class Files:
    def __init__(self, services: Services, sandboxes: Sandboxes) -> None:
        self._services = services
        self._sandboxes = sandboxes

    @contextmanager
    def _operation(self, account: Account, sandbox_id: str, operation: str, path: str) -> Iterator[None]:
        """Becomes an event when it was done; what is refused has not happened."""
        start = self._services.clock.stopwatch()
        with _as_refusal(path):
            yield
        wrote(self._services, self._sandboxes.get(account, sandbox_id), operation, path, start)

    async def entries(self, account: Account, sandbox_id: str, path: str) -> list[Entry]:
        """Sorted by name, hidden files included."""
        check_path(path)
        async with self._sandboxes.using(account, sandbox_id) as cage:
            with self._operation(account, sandbox_id, "list", path):
                return await cage.listing(path)

    async def read(self, account: Account, sandbox_id: str, path: str) -> bytes:
        check_path(path)
        async with self._sandboxes.using(account, sandbox_id) as cage:
            with self._operation(account, sandbox_id, "read", path):
                content = await cage.read(path, limits.READ_BYTES)
                if len(content) > limits.READ_BYTES:
                    raise Refusal(400, f"{path} is larger than 1 MiB; read it in parts with exec", "file_too_large")
                return content

    async def write(self, account: Account, sandbox_id: str, path: str, content: str) -> None:
        check_path(path)
        async with self._sandboxes.using(account, sandbox_id) as cage:
            sandbox = self._sandboxes.get(account, sandbox_id)
            async with sandbox.disk:
                if sandbox.status != "running":
                    raise not_running(sandbox_id, sandbox.status)
                with self._operation(account, sandbox_id, "write", path):
                    await cage.write(path, content.encode("utf-8"))

    async def diff(self, account: Account, sandbox_id: str, path: str) -> git.Diff:
        """The changes at `path`; empty, with a line in the sandbox's log, when it is in no repository. 409 when git
        takes too long, 400 when its output is too large."""
        check_path(path)
        async with self._sandboxes.using(account, sandbox_id) as cage:
            try:
                with _as_refusal(path):
                    found = await git.diff(cage, path)
            except Gone:
                raise not_running(sandbox_id, "gone") from None
            except git.DiffTimeout:
                raise Refusal(
                    409,
                    f"git diff of {path} took longer than {git.DIFF_SECONDS:g} s and was stopped; pass the path of a"
                    " smaller directory, or run git with exec",
                ) from None
            except git.DiffTooLarge as error:
                raise Refusal(
                    400,
                    f"git diff of {path}: the {error} is larger than {git.DIFF_BYTES // 1024**2} MiB; pass the path of"
                    " a smaller directory, or run git with exec",
                    "file_too_large",
                ) from None
        if found is None:
            sandbox = self._sandboxes.get(account, sandbox_id)
            self._services.note(sandbox, f"git diff: {path} is not in a git repository", "git")
            return git.Diff()
        return found
