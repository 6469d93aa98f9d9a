"""Paths of a sandbox: checks, and the errors of operations on them."""

from __future__ import annotations

import errno
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

#: Bytes of one name, and of a path with the NUL at its end; no file system of Linux takes more.
_LONGEST_NAME, _LONGEST_PATH = 255, 4096

# How the operating system's reasons read in the C locale: glibc's words are musl's, too.
_ERRORS: dict[str, type[CagedPathError]] = {
    "no such file or directory": CagedFileNotFoundError,
    "is a directory": CagedIsADirectoryError,
    "not a directory": CagedNotADirectoryError,
    "file exists": CagedFileExistsError,
    "directory not empty": CagedDirectoryNotEmptyError,
    "permission denied": CagedPermissionError,
    "operation not permitted": CagedPermissionError,
    "file name too long": CagedPathError,
    "filename too long": CagedPathError,  # musl
    "too many levels of symbolic links": CagedPathError,
    "symbolic link loop": CagedPathError,  # musl
    "invalid argument": CagedPathError,
}
# Of the reasons that have no type of their own.
_NUMBERS = {
    "file name too long": errno.ENAMETOOLONG,
    "filename too long": errno.ENAMETOOLONG,
    "too many levels of symbolic links": errno.ELOOP,
    "symbolic link loop": errno.ELOOP,
    "invalid argument": errno.EINVAL,
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "quota exceeded": errno.EDQUOT,  # musl
    "read-only file system": errno.EROFS,
    "device or resource busy": errno.EBUSY,
    "resource busy": errno.EBUSY,  # musl
    "text file busy": errno.ETXTBSY,
    "file too large": errno.EFBIG,
    "too many links": errno.EMLINK,
    "input/output error": errno.EIO,
    "i/o error": errno.EIO,  # musl
    # The SDK's own.
    "it is a device, a named pipe or a socket": errno.EINVAL,
    "it would be copied into itself": errno.EINVAL,
    "it would be moved into itself": errno.EINVAL,
}
# Parts of messages that do not end with a reason.
_NUMBERS_OF_PARTS = {
    "to a subdirectory of itself, ": errno.EINVAL,  # mv
    "a file system is mounted at ": errno.EBUSY,
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


def names_directory(path: Any) -> bool:
    """Whether a path, which is one, ends with a slash: what it leads to has to be a directory."""
    return bool(os.fspath(path).endswith("/"))


def absolute_new(path: Any, name: str = "path") -> str:
    """As `absolute`, for what is made.

    Raises:
        CagedPathError: A name in it is longer than any can be; nothing is sent, so no directory above it is made.
    """
    checked = absolute(path, name)
    longest = max(map(len, checked.encode().split(b"/")))
    if longest > _LONGEST_NAME or len(checked.encode()) >= _LONGEST_PATH:
        what = f"a name of {longest} bytes" if longest > _LONGEST_NAME else f"{len(checked.encode())} bytes"
        raise CagedPathError(
            f"{name} {checked!r}: file name too long: it has {what}; a name has {_LONGEST_NAME} at most, and a path "
            f"{_LONGEST_PATH - 1}",
            checked,
            errno.ENAMETOOLONG,
        )
    return checked


def absolute_file(path: Any, name: str = "path") -> str:
    """As `absolute_new`, for a file that is written.

    Raises:
        CagedIsADirectoryError: The path ends with a slash, with ``.`` or with ``..``, or is the root's.
    """
    checked = absolute_new(path, name)
    if names_directory(path):
        raise CagedIsADirectoryError(f"{name} {os.fspath(path)!r} ends with a slash, so it names a directory", checked)
    if checked.rpartition("/")[2] in (".", ".."):
        raise CagedIsADirectoryError(f"{name} {checked!r} names a directory", checked)
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
    number = _NUMBERS.get(reason.lower())
    if kind is None:
        if number is None:
            number = next((code for part, code in _NUMBERS_OF_PARTS.items() if part in lines[-1]), None)
        said = " ".join(lines).removeprefix("refused: ")
        return CagedPathError(f"{action} {path!r}: {said[-500:]}", path, number)
    hint = "; pass recursive=True to remove what is in it" if kind is CagedDirectoryNotEmptyError else ""
    return kind(f"{action} {path!r}: {reason[0].lower()}{reason[1:]}{hint}", path, number)
