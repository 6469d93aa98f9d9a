"""Tickets for WebSockets, and what replaces one where the server knows none."""

from __future__ import annotations

from .._api_errors import CagedAPIError
from .._call import Call, ExpectedContent
from .._core import CallPlan, perform
from .._models.tickets import SocketTicket
from .._settings import Settings


def socket_ticket() -> Call[SocketTicket]:
    path = "/auth/socket-ticket"
    # A ticket whose answer was lost opens nothing and ends by itself: asking again does no harm.
    return Call("POST", path, ExpectedContent.OBJECT, SocketTicket.from_api, repeatable=True)


def credential(settings: Settings) -> CallPlan[str]:
    """What to open one WebSocket with: a fresh ticket, or the API key where the server is too old for tickets."""
    try:
        ticket = yield from perform(settings, socket_ticket())
    except CagedAPIError as refusal:
        if refusal.status != 404:
            raise
        return settings.api_key
    return ticket.ticket or settings.api_key
