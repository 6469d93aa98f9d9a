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
        CagedConnectionError       no connection, or one that broke
        MCPError                   a sandbox's MCP server refused a request, or its connection is closed

All of them can be pickled and copied. `CagedAPIError` and its subclasses are in `_api_errors.py`: they refer to a
model, and models raise the errors that are here.
"""

from __future__ import annotations

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
