"""Errors as `application/problem+json` (wire-contract.md 2.3, platform-behaviour.md A, Errors).

A problem holds `type`, `title`, `status`, `detail` and, where a program may branch on it, `reason`. Device login adds
`error`, the code that its client reads (wire-other-clients.md 2.4).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..platform.errors import ApiError


def problem(error: ApiError) -> Response:
    """The response that reports an error."""
    title = HTTPStatus(error.status).phrase
    body: dict[str, Any] = {
        "type": f"https://caged.dev/errors/{title}",
        "title": title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.error is not None:
        body["error"] = error.error
    if error.code:
        optional = {
            "action": error.action,
            "subject_type": error.subject_type,
            "subject_id": error.subject_id,
        }
        body["reason"] = {
            "code": error.code,
            "message": error.detail,
            **{name: value for name, value in optional.items() if value},
        }
    response = Response(
        json.dumps(body, ensure_ascii=True).encode("ascii"),
        error.status,
        media_type="application/problem+json",
    )
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
