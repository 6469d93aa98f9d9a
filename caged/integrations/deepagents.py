"""A sandbox as a backend of deepagents."""

from __future__ import annotations

from typing import Optional

from .. import BoundSandbox, CagedCommandTimeoutError
from ._frameworks import missing_framework

try:
    from deepagents.backends.protocol import (  # type: ignore[import-not-found,unused-ignore]
        ExecuteResponse,
        FileDownloadResponse,
        FileUploadResponse,
    )
    from deepagents.backends.sandbox import BaseSandbox  # type: ignore[import-not-found,unused-ignore]
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

#: The exit code of a command that took too long, as of coreutils' `timeout`.
TIMED_OUT = 124
# `$1` is the path. What it prints on failure is one of deepagents' names of errors.
_UPLOAD = """\
[ -d "$1" ]&&{ echo is_directory;exit 1;}
{ mkdir -p -- "${1%/*}/"&&cat >"$1";} 2>/dev/null||{ echo permission_denied;exit 1;}
"""
_DOWNLOAD = """\
[ -d "$1" ]&&{ echo is_directory;exit 1;}
[ -e "$1" ]||{ echo file_not_found;exit 1;}
cat <"$1" 2>/dev/null||{ echo permission_denied;exit 1;}
"""


class CagedSandbox(BaseSandbox):  # type: ignore[misc,unused-ignore]
    """A sandbox as a `SandboxBackendProtocol`: for ``create_deep_agent(backend=CagedSandbox(box))``.

    Errors of the platform are raised, for the caller or a middleware as `ToolRetryMiddleware` to handle. deepagents'
    own tools for files need `python3` in the sandbox.

    Args:
        box: The sandbox; threads share it.
        timeout: Seconds, for commands without a timeout of their own.
    """

    def __init__(self, box: BoundSandbox, *, timeout: float = 1800.0) -> None:
        self._box = box
        self._timeout = timeout

    @property
    def id(self) -> str:
        """The sandbox's id."""
        return self._box.id

    def execute(self, command: str, *, timeout: Optional[int] = None) -> ExecuteResponse:
        """Run a command for the shell; stdout and stderr are one text, in the order in which they were printed.

        Args:
            command: For the shell.
            timeout: Seconds; None and 0 mean the backend's own. Then the exit code is 124.

        Raises:
            CagedError: The platform did not run the command.
        """
        try:
            result = self._box.run(f"exec 2>&1\n{command}", timeout=timeout or self._timeout)
        except CagedCommandTimeoutError as error:
            return ExecuteResponse(output=f"{error.stdout}\n{error}", exit_code=TIMED_OUT)
        return ExecuteResponse(output=result.stdout, exit_code=result.exit_code)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, and the directories that they need; one that cannot be written does not affect the others."""
        responses = []
        for path, content in files:
            error = _path_problem(path)
            if error is None:
                result = self._box.run(["sh", "-c", _UPLOAD, "sh", path], stdin=content, timeout=self._timeout)
                error = None if result.ok else result.stdout.strip()
            responses.append(FileUploadResponse(path=path, error=error))
        return responses

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files; one that cannot be read does not affect the others."""
        responses = []
        for path in paths:
            error = _path_problem(path)
            content = None
            if error is None:
                result = self._box.run(["sh", "-c", _DOWNLOAD, "sh", path], timeout=self._timeout)
                if result.ok:
                    content = result.stdout_bytes
                else:
                    error = result.stdout.strip()
            responses.append(FileDownloadResponse(path=path, content=content, error=error))
        return responses


def _path_problem(path: str) -> Optional[str]:
    return None if path.startswith("/") and "\0" not in path else "invalid_path"
