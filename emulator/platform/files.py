"""Files and git of a running sandbox."""

from __future__ import annotations

import errno
import posixpath
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Union

from ..cage import git
from ..cage.cage import Cage
from ..cage.init_client import SandboxGone
from ..cage.paths import WORKSPACE
from ..cage.safe_files import Entry, OutsideOfSandbox
from ..store import Account, Sandbox
from . import limits
from .errors import ApiError, invalid, not_running
from .services import Services

if TYPE_CHECKING:
    from .sandboxes import Sandboxes


#: The reasons of refusals that are about the path. Both are 400: a 403 means to clients that the key is not allowed.
OUTSIDE, DENIED = "path_outside_sandbox", "permission_denied"
#: Seconds for a look inside the sandbox whether a path exists.
_LOOK_SECONDS = 5.0


@contextmanager
def _as_refusal(path: str) -> Iterator[None]:
    """Turn the kernel's errors, and a path that leads out of the sandbox's files, into the platform's refusals."""
    try:
        yield
    except OutsideOfSandbox:
        detail = f"{path} is outside the sandbox's files; use a path below /workspace, /root or /tmp, or exec"
        raise ApiError(400, detail, OUTSIDE) from None
    except FileNotFoundError:
        raise _missing(path) from None
    except IsADirectoryError:
        raise invalid(f"{path} is a directory") from None
    except NotADirectoryError:
        raise invalid(f"{path}: not a directory, or a part of it is not") from None
    except PermissionError:
        raise ApiError(400, f"permission denied: {path}", DENIED) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ApiError(507, f"no space left for {path}") from None
        raise invalid(f"{path}: {error.strerror}") from None


def _missing(path: str) -> ApiError:
    return ApiError(404, f"no such file or directory: {path}")


@asynccontextmanager
async def _missing_is_404(cage: Cage, path: str) -> AsyncIterator[None]:
    """Refuse a path outside the sandbox's files with 404 when a command in the sandbox does not find it either."""
    try:
        yield
    except ApiError as refusal:
        if refusal.code == OUTSIDE:
            plain = posixpath.normpath(path) if ".." in path else path
            with suppress(SandboxGone):
                look = await cage.shell(f"test -e {shlex.quote(plain)}", {}, seconds=_LOOK_SECONDS)
                if look.code == 1:
                    raise _missing(path) from None
        raise


async def place(services: Services, sandbox: Sandbox, path: str, content: Union[str, bytes]) -> None:
    """Writes a file of a sandbox that runs or is being built, as what is in it would. Raises Refusal."""
    check_path(path)
    start = services.clock.stopwatch()
    async with sandbox.disk:
        if sandbox.status not in ("pending", "running") or sandbox.cage is None:
            raise not_running(sandbox.id, sandbox.status)
        with _as_refusal(path):
            await sandbox.cage.write(
                path, content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            )
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
            async with _missing_is_404(cage, path):
                with self._operation(account, sandbox_id, "list", path):
                    return await cage.listing(path)

    async def read(self, account: Account, sandbox_id: str, path: str) -> bytes:
        check_path(path)
        async with self._sandboxes.using(account, sandbox_id) as cage:
            async with _missing_is_404(cage, path):
                with self._operation(account, sandbox_id, "read", path):
                    content = await cage.read(path, limits.READ_BYTES)
                    if len(content) > limits.READ_BYTES:
                        raise ApiError(
                            400, f"{path} is larger than 1 MiB; read it in parts with exec", "file_too_large"
                        )
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
                async with _missing_is_404(cage, path):
                    with _as_refusal(path):
                        found = await git.diff(cage, path)
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
        if found is None:
            sandbox = self._sandboxes.get(account, sandbox_id)
            self._services.note(sandbox, f"git diff: {path} is not in a git repository", "git")
            return git.Diff()
        return found
