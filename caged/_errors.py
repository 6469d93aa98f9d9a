"""Every exception of the SDK.

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

All of them can be pickled and copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ._naming import public

if TYPE_CHECKING:
    from ._models.error_reasons import Refusal


def _revive(cls: type[CagedError], args: tuple[Any, ...], state: dict[str, Any]) -> CagedError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


@public
class CagedError(Exception):
    """Base of every error; raised itself for a bad argument, a closed client or a garbled answer."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with the message alone and lose the keyword-only attributes.
        return _revive, (type(self), self.args, dict(self.__dict__))


@public
class CagedAPIError(CagedError):
    """Raised when the API answers with a status outside 2xx that has no class of its own, such as 409.

    Attributes:
        status: the HTTP status.
        detail: the server's sentence: its ``detail``, else its ``error``, else None.
        reason: the classified reason, when the server gave one.
        body: the parsed JSON body, or None when the answer was not JSON.
        text: the body as text, always.
        request_id: the ``X-Request-Id`` header, for a support request.
        retry_after: seconds from now until a repeat makes sense (``Retry-After``), or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: Optional[str] = None,
        reason: Optional[Refusal] = None,
        body: Any = None,
        text: str = "",
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.body = body
        self.text = text
        self.request_id = request_id
        self.retry_after = retry_after


@public
class CagedValidationError(CagedAPIError):
    """Raised when the API finds the request malformed or out of range (400, 422)."""


@public
class CagedAuthError(CagedAPIError):
    """Raised when the key is missing, wrong, or not allowed to do this (401, 403)."""


@public
class CagedNotFoundError(CagedAPIError):
    """Raised when the sandbox, snapshot, file or route does not exist for this account (404)."""


@public
class CagedRateLimitError(CagedAPIError):
    """Raised when there were too many requests (429); ``retry_after`` may say how long to wait."""


@public
class CagedPlanLimitError(CagedAPIError):
    """Raised when the account's plan does not allow more of this, whatever the status (mostly 403)."""


@public
class CagedServerError(CagedAPIError):
    """Raised when the platform itself failed (500 and up)."""


@public
class CagedTimeoutError(CagedError):
    """Raised when no answer came within the time in force for that call.

    Attributes:
        timeout: that time in seconds; None only if the transport gave up although no limit was set.
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
        code: of JSON-RPC; -1 when the connection is closed.
        message: the server's sentence.
        data: what the server added, undecoded.
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


_BY_STATUS: dict[int, type[CagedAPIError]] = {
    400: CagedValidationError,
    401: CagedAuthError,
    403: CagedAuthError,
    404: CagedNotFoundError,
    422: CagedValidationError,
    429: CagedRateLimitError,
}


def error_class(status: int, reason: Optional[Refusal]) -> type[CagedAPIError]:
    """The class for an answer: a plan limit wins over the status, the exact status over the 5xx family."""
    if reason is not None and reason.code == "plan_limit_reached":
        return CagedPlanLimitError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return CagedServerError if status >= 500 else CagedAPIError
