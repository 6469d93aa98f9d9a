"""Files of a sandbox, and the git diff of a work tree in it."""

from __future__ import annotations

from typing import Optional

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, as_is, ignore
from .._http import AsyncSession, Session
from .._models.files import FileEntry, GitDiff
from .._tracebacks import short_tracebacks
from .sandbox_calls import at

# The method named `list` hides the builtin inside the classes.
FileList = list[FileEntry]


def list_(sandbox_id: str, path: Optional[str]) -> Call[FileList]:
    query = {"path": arguments.optional_text("path", path)}
    where = at(sandbox_id, "/files")
    return Call("GET", where, ExpectedContent.ARRAY, FileEntry.list_from_api, query=query, repeatable=True)


def read(sandbox_id: str, path: str) -> Call[str]:
    query = {"path": arguments.text("path", path)}
    return Call("GET", at(sandbox_id, "/files/content"), ExpectedContent.TEXT, as_is, query=query, repeatable=True)


def read_bytes(sandbox_id: str, path: str) -> Call[bytes]:
    query = {"path": arguments.text("path", path)}
    return Call("GET", at(sandbox_id, "/files/content"), ExpectedContent.BYTES, as_is, query=query, repeatable=True)


def write(sandbox_id: str, path: str, content: str) -> Call[None]:
    return Call(
        "PUT",
        at(sandbox_id, "/files/content"),
        ExpectedContent.NOTHING,
        ignore,
        query={"path": arguments.text("path", path)},
        body={"content": arguments.text("content", content)},
        repeatable=True,
    )


def git_diff(sandbox_id: str, path: Optional[str]) -> Call[GitDiff]:
    query = {"path": arguments.optional_text("path", path)}
    where = at(sandbox_id, "/git/diff")
    return Call("GET", where, ExpectedContent.OBJECT, GitDiff.from_api, query=query, repeatable=True)


@short_tracebacks
class Files:
    """``caged.files``. Paths are the sandbox's own; a relative one is below ``/workspace``.

    All raise `CagedNotFoundError` for what does not exist, and `CagedAPIError` (409) when the sandbox is not
    running.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, sandbox_id: str, path: Optional[str] = "/workspace") -> FileList:
        """The entries of one directory, hidden ones included. None leaves the path to the platform."""
        return self._session.send(list_(sandbox_id, path))

    def read(self, sandbox_id: str, path: str) -> str:
        """A file as text: by the charset the API names, else UTF-8; undecodable bytes become U+FFFD.

        The platform refuses files over 1 MiB (`CagedAPIError`).
        """
        return self._session.send(read(sandbox_id, path))

    def read_bytes(self, sandbox_id: str, path: str) -> bytes:
        """A file as it is. The platform refuses files over 1 MiB (`CagedAPIError`)."""
        return self._session.send(read_bytes(sandbox_id, path))

    def write(self, sandbox_id: str, path: str, content: str) -> None:
        """Write a whole text file, making parent directories.

        Args:
            sandbox_id: The sandbox.
            path: Absolute in the sandbox, or relative to ``/workspace``.
            content: All of it, as text; the API takes no binary content.

        Raises:
            CagedNotFoundError: No such sandbox.
            CagedError: An argument is not a str; nothing is sent.
        """
        self._session.send(write(sandbox_id, path, content))

    def git_diff(self, sandbox_id: str, path: Optional[str] = None) -> GitDiff:
        """What changed in the git work tree at `path` (``/workspace`` if None); ``print`` shows the diff."""
        return self._session.send(git_diff(sandbox_id, path))


@short_tracebacks
class AsyncFiles:
    """``caged.files`` of `AsyncCaged`; every method is described in `Files`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(self, sandbox_id: str, path: Optional[str] = "/workspace") -> FileList:
        """See `Files.list`."""
        return await self._session.send(list_(sandbox_id, path))

    async def read(self, sandbox_id: str, path: str) -> str:
        """See `Files.read`."""
        return await self._session.send(read(sandbox_id, path))

    async def read_bytes(self, sandbox_id: str, path: str) -> bytes:
        """See `Files.read_bytes`."""
        return await self._session.send(read_bytes(sandbox_id, path))

    async def write(self, sandbox_id: str, path: str, content: str) -> None:
        """See `Files.write`."""
        await self._session.send(write(sandbox_id, path, content))

    async def git_diff(self, sandbox_id: str, path: Optional[str] = None) -> GitDiff:
        """See `Files.git_diff`."""
        return await self._session.send(git_diff(sandbox_id, path))
