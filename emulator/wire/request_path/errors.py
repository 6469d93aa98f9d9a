"""Turn what a handler raises into a response."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ...platform.errors import ApiError
from ..other_accounts import note_if_of_other_account
from ..problem import problem
from .exchange import Exchange

logger = logging.getLogger(__name__)

#: The status, in the journal, of a request whose client disconnected before it was answered.
CLIENT_CLOSED_REQUEST = 499


def response_to(error: Exception, exchange: Exchange) -> Response:
    """The response to a request for which a handler raised `error`."""
    if isinstance(error, ApiError):
        ids = exchange.connection.path_params.values()
        note_if_of_other_account(exchange.platform, exchange.record, exchange.account, error, ids)
        return problem(error)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    logger.error("%s %s failed", exchange.record.method, exchange.record.path, exc_info=error)
    return problem(ApiError(500, "the emulator failed; its log has the traceback. Please report it."))
