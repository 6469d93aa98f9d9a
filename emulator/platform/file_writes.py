"""What operations on a sandbox's files share: checks of paths, errors, events. And writes by the emulator itself."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Union

from ..cage.file_tree import OutsideOfSandbox
from ..cage.paths import WORKSPACE
from ..control.clock import Clock
from ..store import Sandbox
from .errors import ApiError, invalid, not_running
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder

#: Codes of errors about a path. Both are 400: a 403 means to clients that the key is not allowed.
OUTSIDE, DENIED = "path_outside_sandbox", "permission_denied"


def check_path(path: str) -> str:
    """Return the path. 400 for an empty one and for one with a NUL character."""
    if not path:
        raise invalid("missing path parameter")
    if "\0" in path:
        raise invalid("path must not contain a NUL character")
    return path


def missing(path: str) -> ApiError:
    return ApiError(404, f"no such file or directory: {path}")


@contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Turn the kernel's errors, and a path that leads out of the sandbox's files, into the platform's."""
    try:
        yield
    except OutsideOfSandbox as error:
        detail = f"{path} is outside the sandbox's files; use {error}, or exec"
        raise ApiError(400, detail, OUTSIDE) from None
    except FileNotFoundError:
        raise missing(path) from None
    except IsADirectoryError:
        raise invalid(f"{path} is a directory") from None
    except NotADirectoryError:
        raise invalid(f"{path}: not a directory, or a part of it is not") from None
    except PermissionError:
        raise ApiError(400, f"permission denied: {path}", DENIED) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ApiError(507, f"no space left for {path}") from None
        if error.errno == errno.EROFS:
            raise ApiError(400, f"permission denied: {path} is in a read-only file system", DENIED) from None
        raise invalid(f"{path}: {error.strerror}") from None


class FileWrites:
    """Writes files for an agent's reply, and records what is done to files."""

    def __init__(self, clock: Clock, live: LiveSandboxes, recorder: SandboxRecorder) -> None:
        self._clock = clock
        self._live = live
        self._recorder = recorder

    async def write(self, sandbox: Sandbox, path: str, content: Union[str, bytes]) -> None:
        """Write a file of a sandbox that is pending or running, with the rights of its programs. Raises ApiError."""
        check_path(path)
        start = self._clock.stopwatch()
        live = self._live.of(sandbox)
        async with live.workspace_lock:
            if sandbox.status not in ("pending", "running") or live.cage is None:
                raise not_running(sandbox.id, sandbox.status)
            raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            with file_errors(path):
                await live.cage.write(path, raw)
        self.record(sandbox, "write", path, start)

    def record(self, sandbox: Sandbox, operation: str, path: str, start: float) -> None:
        """Record an event of an operation that began at `start` of the clock's stopwatch."""
        data = {"operation": operation, "path": posixpath.normpath(posixpath.join(WORKSPACE, path))}
        self._recorder.record_event(sandbox, "file_op", data, (self._clock.stopwatch() - start) * 1000)
