"""Make durable what a response reports, before it is sent."""

from __future__ import annotations

import logging

from ...platform.errors import ApiError
from ..common_headers import add_common_headers
from ..problem import problem
from .exchange import HttpExchange

logger = logging.getLogger(__name__)


async def commit(exchange: HttpExchange) -> None:
    """Write all changes to the state directory, if there is one. When that fails, the response is a 507."""
    platform, request = exchange.platform, exchange.request
    if not platform.is_persistent:
        return
    try:
        platform.commit()
    except OSError as error:
        logger.error("%s %s: %s", request.method, request.scope["path"], error)
        exchange.response = problem(ApiError(507, str(error)))
        add_common_headers(exchange.response, platform)
