"""The exceptions for answers of the API with a status outside 2xx; their tree is in `_errors.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ._errors import CagedError
from ._naming import public

if TYPE_CHECKING:
    from ._models.error_reasons import ErrorReason


@public
class CagedAPIError(CagedError):
    """Raised when the API answers with a status outside 2xx that has no class of its own, such as 409.

    Attributes:
        status: The HTTP status.
        detail: The server's sentence: its ``detail``, else its ``error``, else None.
        reason: The classified reason, when the server gave one.
        body: The parsed JSON body, or None when the answer was not JSON.
        text: The body as text, always.
        request_id: The ``X-Request-Id`` header, for a support request.
        retry_after: Seconds from now until a repeat makes sense (``Retry-After``), or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: Optional[str] = None,
        reason: Optional[ErrorReason] = None,
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


_BY_STATUS: dict[int, type[CagedAPIError]] = {
    400: CagedValidationError,
    401: CagedAuthError,
    403: CagedAuthError,
    404: CagedNotFoundError,
    422: CagedValidationError,
    429: CagedRateLimitError,
}


def error_class(status: int, reason: Optional[ErrorReason]) -> type[CagedAPIError]:
    """The class for an answer: a plan limit wins over the status, the exact status over the 5xx family."""
    if reason is not None and reason.code == "plan_limit_reached":
        return CagedPlanLimitError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return CagedServerError if status >= 500 else CagedAPIError
