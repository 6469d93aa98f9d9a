"""The exceptions of the SDK.

    Exception
      CagedError                   base of all; itself raised for bad arguments and unreadable answers
        CagedAPIError              the API answered with a status outside 2xx
          CagedValidationError     400, 422
          CagedAuthError           401, 403
          CagedNotFoundError       404
          CagedRateLimitError      429
          CagedPlanLimitError      any status whose reason.code is plan_limit_reached
          CagedServerError         500 and up
        CagedTimeoutError          no answer in time
          CagedCommandTimeoutError a command of a bound sandbox took too long, and was ended
        CagedSandboxError          a sandbox is not what it should be: its creation failed, it cannot run commands
          CagedProcessLostError    how a background process of a bound sandbox ended is not known
        CagedAgentError            an agent in a bound sandbox failed, or reports an error
        CagedCommandError          a command of a bound sandbox failed, with `check=True`
        CagedPathError             a path of a sandbox cannot be used; also an OSError
          CagedFileNotFoundError   also a FileNotFoundError
          CagedFileExistsError     also a FileExistsError
          CagedIsADirectoryError   also an IsADirectoryError
          CagedNotADirectoryError  also a NotADirectoryError
          CagedDirectoryNotEmptyError
          CagedPermissionError     also a PermissionError
        CagedConnectionError       no connection, or one that broke
        MCPError                   a sandbox's MCP server refused a request, or its connection is closed

All of them can be pickled and copied. `CagedAPIError` and its subclasses are in `_api_errors.py`: they refer to a
model, and models raise the errors that are here.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Optional

from ._naming import public


def _unpickle(cls: type[CagedError], args: tuple[Any, ...], state: dict[str, Any]) -> CagedError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


@public
class CagedError(Exception):
    """Base of every error; raised itself for a bad argument, a closed client or a garbled answer."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with the message alone and lose the keyword-only attributes.
        return _unpickle, (type(self), self.args, dict(self.__dict__))


@public
class CagedTimeoutError(CagedError):
    """Raised when no answer came within the time in force for that call.

    Attributes:
        timeout: That time in seconds; None only if the transport gave up although no limit was set.
    """

    def __init__(self, message: str, *, timeout: Optional[float] = None) -> None:
        super().__init__(message)
        self.timeout = timeout


@public
class CagedCommandTimeoutError(CagedTimeoutError):
    """Raised when a command took longer than its `timeout`; it and all processes that it started were ended, unless
    the message says that they could not be.

    Attributes:
        command: As it was given, as one string.
        timeout: In seconds.
        stdout, stderr: What it had printed until then; empty if it could not be ended.
    """

    def __init__(self, command: str, timeout: Optional[float], stdout: bytes, stderr: bytes, failure: str = "") -> None:
        outcome = f" and was ended{printed_output((stdout, 'stdout'), (stderr, 'stderr'))}"
        if failure:
            outcome = f", and may still run: {failure}"
        super().__init__(f"{shortened_command(command)} took longer than {timeout:g} s{outcome}", timeout=timeout)
        self.command = command
        self.stdout = stdout.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace")


@public
class CagedCommandError(CagedError):
    """Raised when a command that must succeed exited with another code than 0.

    Attributes:
        command: As it was given, as one string.
        exit_code: 128+n after signal n.
        stdout, stderr: What it printed.
    """

    def __init__(self, command: str, exit_code: int, stdout: str, stderr: str) -> None:
        printed = printed_output((stderr.encode(), "stderr") if stderr.strip() else (stdout.encode(), "stdout"))
        super().__init__(f"{shortened_command(command)} exited with {exit_code}{printed}")
        self.command = command
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


@public
class CagedSandboxError(CagedError):
    """Raised when a sandbox is not what a call needs: its creation ended in an error, or it cannot run commands.

    Attributes:
        sandbox_id: The sandbox's id; None when the error is not about one sandbox.
    """

    def __init__(self, message: str, *, sandbox_id: Optional[str] = None) -> None:
        super().__init__(message)
        self.sandbox_id = sandbox_id


@public
class CagedPathError(CagedError, OSError):
    """Raised when an operation on a file of a bound sandbox fails because of its path.

    Attributes:
        path: In the sandbox, absolute.
        errno, strerror, filename: As of any OSError; the first two are None where the reason is not known, or none of
            the operating system's.
    """

    _number: Optional[int] = None

    def __init__(self, message: str, path: str, number: Optional[int] = None) -> None:
        super().__init__(message)
        self.path = path
        self.filename = path
        self.errno = self._number if number is None else number
        self.strerror = None if self.errno is None else os.strerror(self.errno)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # Fields of an OSError are in no __dict__; __init__ sets them.
        return type(self), (self.args[0], self.path, self.errno), dict(self.__dict__)


@public
class CagedFileNotFoundError(CagedPathError, FileNotFoundError):
    """Raised when there is no file or directory of this name."""

    _number = errno.ENOENT


@public
class CagedFileExistsError(CagedPathError, FileExistsError):
    """Raised when a file or directory of this name exists, and is not to be replaced."""

    _number = errno.EEXIST


@public
class CagedIsADirectoryError(CagedPathError, IsADirectoryError):
    """Raised when a file is needed, and the path is a directory's."""

    _number = errno.EISDIR


@public
class CagedNotADirectoryError(CagedPathError, NotADirectoryError):
    """Raised when the path, or a part of it that must be a directory, is none."""

    _number = errno.ENOTDIR


@public
class CagedDirectoryNotEmptyError(CagedPathError):
    """Raised when a directory is to be removed that has entries."""

    _number = errno.ENOTEMPTY


@public
class CagedPermissionError(CagedPathError, PermissionError):
    """Raised when the permissions of a file or directory forbid the operation."""

    _number = errno.EACCES


@public
class CagedProcessLostError(CagedSandboxError):
    """Raised when it cannot be known whether a background process runs or how it ended: its sandbox was restarted, what
    watches it was killed, or its records in the sandbox were removed or replaced, by a restore for example.

    Attributes:
        pid: Its number.
        command: As it was given, as one string.
    """

    def __init__(self, message: str, *, sandbox_id: str, pid: int, command: str) -> None:
        super().__init__(message, sandbox_id=sandbox_id)
        self.pid = pid
        self.command = command


@public
class CagedAgentError(CagedError):
    """Raised when an agent reports an error, fails, or prints something else than its format.

    Attributes:
        agent: Its program.
        exit_code: Of its command; 128+n after signal n.
        stdout, stderr: What it printed.
        raw: The JSON of it; None when there is none.
    """

    def __init__(self, agent: str, message: str, exit_code: int, stdout: str, stderr: str, raw: Any = None) -> None:
        printed = "" if raw is not None else printed_output((stdout.encode(), "stdout"), (stderr.encode(), "stderr"))
        super().__init__(f"agent {agent!r} failed: {message}{printed}")
        self.agent = agent
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr
        self.raw = raw


_LONGEST_COMMAND = 200
_LONGEST_TAIL = 2000


def shortened_command(command: str) -> str:
    """What a message calls a command."""
    short = command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}..."
    return f"command {short!r}"


def printed_output(*streams: tuple[bytes, str]) -> str:
    """The end of a message: the last lines of what was printed."""
    parts = []
    for content, name in streams:
        text = content[-_LONGEST_TAIL:].decode("utf-8", "replace").strip()
        if text:
            parts.append(f"\n{name}: {text}")
    return "".join(parts) or "; it printed nothing"


@public
class CagedConnectionError(CagedError):
    """Raised when the API cannot be reached, or the connection breaks before the answer is complete."""


@public
class MCPError(CagedError):
    """Raised when a sandbox's MCP server answers with an error, or its connection is closed.

    Attributes:
        code: Of JSON-RPC; -1 when the connection is closed.
        message: The server's sentence.
        data: What the server added, undecoded.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"MCP error {code}: {message}")
        self.code = code
        self.message = message
        self.data = data


def caused_by(cause: Optional[BaseException], error: CagedError) -> CagedError:
    """The error, with what it came from kept in ``__context__`` but not printed: its message says the same.

    A failure below HTTP has twenty frames of httpx and httpcore, which would bury the user's own line.
    """
    if cause is not None:
        error.__context__ = cause
        error.__suppress_context__ = True
    return error
