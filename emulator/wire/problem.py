"""Refusals as `application/problem+json` (wire-contract.md 2.3, platform-behaviour.md A, Errors)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..platform.refusal import Refusal


def problem(refusal: Refusal, instance: str) -> Response:
    title = HTTPStatus(refusal.status).phrase
    body: dict[str, Any] = {
        "type": f"https://caged.dev/errors/{title}",
        "title": title,
        "status": refusal.status,
        "detail": refusal.detail,
        "instance": instance,
        "error": refusal.error or refusal.detail,
    }
    if refusal.code:
        body["reason"] = {
            "code": refusal.code,
            "message": refusal.detail,
            "action": refusal.action,
            "subject_type": refusal.subject_type,
            "subject_id": refusal.subject_id,
        }
    response = Response(
        json.dumps(body, ensure_ascii=True).encode("ascii"),
        refusal.status,
        media_type="application/problem+json",
    )
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response
