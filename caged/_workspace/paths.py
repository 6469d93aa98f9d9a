"""Paths of a sandbox: checks, and the errors of operations on them."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Union

from .. import _arguments as arguments
from .._errors import (
    CagedDirectoryNotEmptyError,
    CagedError,
    CagedFileExistsError,
    CagedFileNotFoundError,
    CagedIsADirectoryError,
    CagedNotADirectoryError,
    CagedPathError,
    CagedPermissionError,
)

SandboxPath = Union[str, PurePosixPath]

#: Relative paths are below it.
ROOT = "/workspace"

# How the operating system's reasons read in the C locale: glibc's words are musl's, too.
_ERRORS: dict[str, type[CagedPathError]] = {
    "no such file or directory": CagedFileNotFoundError,
    "is a directory": CagedIsADirectoryError,
    "not a directory": CagedNotADirectoryError,
    "file exists": CagedFileExistsError,
    "directory not empty": CagedDirectoryNotEmptyError,
    "permission denied": CagedPermissionError,
    "operation not permitted": CagedPermissionError,
}


def absolute(path: Any, name: str = "path") -> str:
    """A path as an absolute one, without a slash at its end.

    Raises:
        CagedError: It is not a path; nothing is sent.
    """
    if isinstance(path, PurePosixPath):
        path = os.fspath(path)
    text = arguments.text(name, path)
    if not text:
        raise CagedError(f"{name} is empty; the sandbox's own directory is {ROOT!r}")
    if "\0" in text:
        raise CagedError(f"{name} holds a NUL character, which no path can")
    if not text.startswith("/"):
        text = f"{ROOT}/{text}"
    return text.rstrip("/") or "/"


def absolute_file(path: Any, name: str = "path") -> str:
    """As `absolute`, for a file that is written.

    Raises:
        CagedIsADirectoryError: The path ends with a slash, or is the root's.
    """
    checked = absolute(path, name)
    if os.fspath(path).endswith("/"):
        raise CagedIsADirectoryError(f"{name} {os.fspath(path)!r} ends with a slash, so it names a directory", checked)
    return checked


def path_error(action: str, path: str, said: str) -> CagedPathError:
    """The error for what a command in the sandbox said on stderr.

    Args:
        action: For the message, e.g. ``cannot read``.
        said: Ends with the operating system's reason, as every command's own message does.
    """
    lines = said.strip().splitlines() or ["the sandbox gave no reason"]
    reason = lines[-1].rpartition(": ")[2].strip()
    kind = _ERRORS.get(reason.lower())
    if kind is None:
        said = " ".join(lines).removeprefix("refused: ")
        return CagedPathError(f"{action} {path!r}: {said[-500:]}", path)
    hint = "; pass recursive=True to remove what is in it" if kind is CagedDirectoryNotEmptyError else ""
    return kind(f"{action} {path!r}: {reason[0].lower()}{reason[1:]}{hint}", path)
