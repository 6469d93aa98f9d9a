"""A sandbox as a backend of deepagents."""

from __future__ import annotations

from typing import Optional

from .. import (
    BoundSandbox,
    CagedCommandTimeoutError,
    CagedFileNotFoundError,
    CagedIsADirectoryError,
    CagedPathError,
    CagedPermissionError,
)
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
#: What deepagents calls an error of a path that is not one of `_PATH_ERRORS`.
INVALID_PATH = "invalid_path"
_PATH_ERRORS = {
    CagedFileNotFoundError: "file_not_found",
    CagedIsADirectoryError: "is_directory",
    CagedPermissionError: "permission_denied",
}


class CagedSandbox(BaseSandbox):  # type: ignore[misc,unused-ignore]
    """A sandbox as a `SandboxBackendProtocol`: for ``create_deep_agent(backend=CagedSandbox(box))``.

    Errors of the platform are raised, for the caller or a middleware as `ToolRetryMiddleware` to handle. deepagents'
    own tools for files need `python3` in the sandbox.

    Args:
        box: The sandbox; threads share it.
        timeout: Seconds, for commands without a timeout of their own.
    """

    #: A long output stays in a file of the sandbox, and the agent gets its beginning and end.
    enable_capture_offload = True

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
        # A shell that cannot parse the command prints why before the redirection.
        return ExecuteResponse(output=result.stdout + result.stderr, exit_code=result.exit_code)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, and the directories that they need; one that cannot be written does not affect the others."""
        return [FileUploadResponse(path=path, error=self._upload(path, content)) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files; one that cannot be read does not affect the others."""
        return [self._download(path) for path in paths]

    def _upload(self, path: str, content: bytes) -> Optional[str]:
        if not path.startswith("/"):
            return INVALID_PATH
        try:
            self._box.write(path, content)
        except CagedPathError as error:
            return _PATH_ERRORS.get(type(error), INVALID_PATH)
        return None

    def _download(self, path: str) -> FileDownloadResponse:
        if not path.startswith("/"):
            return FileDownloadResponse(path=path, error=INVALID_PATH)
        try:
            return FileDownloadResponse(path=path, content=self._box.read_bytes(path))
        except CagedPathError as error:
            return FileDownloadResponse(path=path, error=_PATH_ERRORS.get(type(error), INVALID_PATH))
