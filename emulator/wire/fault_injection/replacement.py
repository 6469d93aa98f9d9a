"""The effects that HTTP requests and handshakes of WebSockets have in common: a delay, a hang, another response."""

from __future__ import annotations

import asyncio
from typing import Optional

from starlette.responses import Response

from ...control.fault_registry import Injection
from ...control.faults import HANG_SECONDS, Fault
from ...platform.errors import ApiError
from ..problem import problem


def trigger_if_only_delay(injection: Injection) -> None:
    """Trigger a fault that does nothing but delay.

    A delay has triggered even if the client gives up. With another effect, only that effect counts.
    """
    if not injection.fault.has_effect:
        injection.trigger()


async def until_removed(fault: Fault) -> None:
    """Wait until a fault that hangs is removed; at most HANG_SECONDS."""
    try:
        await asyncio.wait_for(fault.removed.wait(), HANG_SECONDS)
    except asyncio.TimeoutError:
        pass


def replacement_response(injection: Injection) -> Optional[Response]:
    """Trigger `status` or `rate_limit`, and return its response; None for a fault with neither."""
    fault = injection.fault
    if fault.rate_limit is not None:
        injection.trigger()
        return problem(ApiError(429, fault.detail or "rate limit reached", retry_after=fault.rate_limit))
    if fault.status is None:
        return None
    injection.trigger()
    if fault.body is not None:
        response = Response(fault.body.encode("utf-8"), fault.status, media_type=_media_type(fault.body))
    else:
        response = problem(ApiError(fault.status, fault.error_text, fault.reason))
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _media_type(body: str) -> str:
    start = body.lstrip()[:1]
    return {"<": "text/html", "{": "application/json", "[": "application/json"}.get(start, "text/plain")
