"""Refusals as `application/problem+json` (wire-contract.md 2.3, platform-behaviour.md A, Errors).

A problem holds `type`, `title`, `status`, `detail` and, where a program may want to branch on it, `reason`. Device
login alone adds `error`, the word that its client reads (wire-other-clients.md 2.4).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..platform.errors import ApiError


def problem(refusal: ApiError) -> Response:
    title = HTTPStatus(refusal.status).phrase
    body: dict[str, Any] = {
        "type": f"https://caged.dev/errors/{title}",
        "title": title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    if refusal.error is not None:
        body["error"] = refusal.error
    if refusal.code:
        optional = {
            "action": refusal.action,
            "subject_type": refusal.subject_type,
            "subject_id": refusal.subject_id,
        }
        body["reason"] = {
            "code": refusal.code,
            "message": refusal.detail,
            **{name: value for name, value in optional.items() if value},
        }
    response = Response(
        json.dumps(body, ensure_ascii=True).encode("ascii"),
        refusal.status,
        media_type="application/problem+json",
    )
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response
