"""The headers of every response of the API (platform-behaviour.md A, Errors)."""

from __future__ import annotations

from typing import Optional

from starlette.responses import Response

from ..platform.platform import Platform


def add_common_headers(
    response: Response,
    platform: Platform,
    rate_window: Optional[tuple[int, int, int]] = None,
    is_admin: bool = False,
) -> None:
    """Add the request's id and the rate limit to a response, of whatever status.

    Args:
        response: The response.
        platform: The emulator's platform.
        rate_window: Limit, remaining requests, reset in seconds since the epoch. None for a request that does not count
            for an account.
        is_admin: Whether it is an admin call, which must not change the ids that a seed makes repeatable.
    """
    limit, remaining, reset = rate_window or platform.accounts.rate_window()
    response.raw_headers += [
        (b"x-request-id", b"req_%016x" % platform.randomness.bits("admin" if is_admin else "req", 64)),
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset),
    ]
